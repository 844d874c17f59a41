/** Batches against a context that cannot take them as a whole, over real gRPC. */
import { connectTo, type GrpcServer, serve, unary } from "@capstan/grpc";
import {
  ExecutionInternalServiceClient,
  ExecutionInternalServiceService,
  type StartExecutionsRequest,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";
import { type Asked, type Contexts, perform } from "./perform.ts";
import { type Saga, sagaId } from "./runJob.ts";

let server: GrpcServer;
let contexts: Contexts;
let calls: number[] = [];
let started: string[] = [];
let answer: (ids: readonly string[]) => void = () => {};

beforeAll(async () => {
  const implementation = {
    startExecutions: unary(async ({ starts }: StartExecutionsRequest) => {
      const ids = starts.map(({ executionId }) => executionId);
      calls.push(ids.length);
      answer(ids);
      started.push(...ids);
      return { outcomes: ids.map(() => "START_OUTCOME_ACCEPTED" as const) };
    }),
    stopExecutions: unary(async () => ({})),
  };
  const services = [{ definition: ExecutionInternalServiceService, implementation }];
  server = await serve({ address: "127.0.0.1:0", services, health: () => true, log: createTestLog() });
  const executions = connectTo(ExecutionInternalServiceClient, `127.0.0.1:${server.port}`);
  contexts = { executions } as Contexts; // nothing else is asked here
});

beforeEach(() => {
  calls = [];
  started = [];
  answer = () => {};
});

afterAll(async () => {
  contexts.executions.close();
  await server.stop();
});

it("starts that are too large for one message together are sent in several", async () => {
  const asked = Array.from({ length: 40 }, (_, index) => aStart(index, "x".repeat(200 * 1024)));
  const performed = await perform(contexts, asked);
  expect(performed.every(({ ok }) => ok)).toBe(true);
  expect(started).toEqual(asked.map(({ saga }) => saga.id));
});

it("one that the other side fails on is tried again alone, and the others are done", async () => {
  const asked = Array.from({ length: 10 }, (_, index) => aStart(index));
  const culprit = asked[3]?.saga.id ?? "";
  answer = (ids) => {
    if (ids.includes(culprit)) throw new Error("a defect");
  };
  const performed = await perform(contexts, asked);
  expect(performed.map(({ ok }) => ok)).toEqual(asked.map(({ saga }) => saga.id !== culprit));
  expect(performed[3]).toMatchObject({ ok: false, isFinal: false });
});

it("during an outage a batch is asked for once", async () => {
  answer = () => {
    throw Object.assign(new Error("no connection"), { code: "ECONNREFUSED" });
  };
  const performed = await perform(
    contexts,
    Array.from({ length: 10 }, (_, index) => aStart(index)),
  );
  expect(performed.every(({ ok }) => !ok)).toBe(true);
  expect(calls).toEqual([10]);
});

function aStart(index: number, script = "true"): Asked {
  const saga: Saga = {
    id: sagaId("00000000-0000-0000-0000-000000000000", "main", index + 1),
    tenant: "default",
    jobId: "00000000-0000-0000-0000-000000000000",
    jobName: "a job",
    step: "main",
    attempt: index + 1,
    priority: 0,
    spec: StepSpec.fromPartial({ script: { content: script } }),
    traceparent: null,
    readyTime: new Date(),
    placementKey: "any process",
    stage: "RESERVED",
    reason: "UNSPECIFIED",
    message: "",
    placed: { providerId: "", providerName: "local", kind: "PROVIDER_KIND_PROCESS", endpoint: "" },
    outcome: null,
    failures: 0,
    parkedStage: null,
    version: 1,
    sequence: 0,
    wakeInMs: 0,
  };
  return { saga, command: { type: "start" } };
}
