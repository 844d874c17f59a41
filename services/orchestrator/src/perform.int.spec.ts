/** Batches against a context that cannot take them as a whole, over real gRPC. */
import { connectTo, type GrpcServer, serve, unary } from "@capstan/grpc";
import {
  ExecutionInternalServiceClient,
  ExecutionInternalServiceService,
  type ExecutionStart,
  type StartExecutionsRequest,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import {
  type CapacityRequest,
  ProviderInternalServiceClient,
  ProviderInternalServiceService,
  type ReserveCapacityRequest,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";
import { type Asked, type Contexts, perform, reserve } from "./perform.ts";
import { type Saga, sagaId } from "./runJob.ts";

let server: GrpcServer;
let contexts: Contexts;
let calls: number[] = [];
let started: string[] = [];
let begun: ExecutionStart[] = [];
let requested: CapacityRequest[] = [];
let answer: (ids: readonly string[]) => void = () => {};

beforeAll(async () => {
  const implementation = {
    startExecutions: unary(async ({ starts }: StartExecutionsRequest) => {
      const ids = starts.map(({ executionId }) => executionId);
      calls.push(ids.length);
      answer(ids);
      started.push(...ids);
      begun.push(...starts);
      return { outcomes: ids.map(() => "START_OUTCOME_ACCEPTED" as const) };
    }),
    stopExecutions: unary(async () => ({})),
    listLiveExecutions: unary(async () => ({ executions: [], nextPageToken: "" })),
  };
  const providers = {
    reserveCapacity: unary(async ({ requests }: ReserveCapacityRequest) => {
      requested.push(...requests);
      return { answers: requests.map(() => ({ outcome: undefined })) };
    }),
    confirmReservations: unary(async () => ({ expiredIds: [] })),
    releaseReservations: unary(async () => ({ released: 0 })),
    listLiveReservations: unary(async () => ({ reservationIds: [], nextPageToken: "" })),
    listProbeTargets: unary(async () => ({ targets: [] })),
    reportHealth: unary(async () => ({})),
    reportPools: unary(async () => ({ answers: [] })),
  };
  const services = [
    { definition: ExecutionInternalServiceService, implementation },
    { definition: ProviderInternalServiceService, implementation: providers },
  ];
  server = await serve({ address: "127.0.0.1:0", services, health: () => true, log: createTestLog() });
  const executions = connectTo(ExecutionInternalServiceClient, `127.0.0.1:${server.port}`);
  const capacity = connectTo(ProviderInternalServiceClient, `127.0.0.1:${server.port}`);
  contexts = { executions, providers: capacity } as Contexts; // nothing else is asked here
});

beforeEach(() => {
  calls = [];
  started = [];
  begun = [];
  requested = [];
  answer = () => {};
});

afterAll(async () => {
  contexts.executions.close();
  contexts.providers.close();
  await server.stop();
});

it("starts that are too large for one message together are sent in several", async () => {
  const asked = Array.from({ length: 40 }, (_, index) => aStart(index, "x".repeat(200 * 1024)));
  const performed = await perform(contexts, asked);
  expect(performed.every(({ ok }) => ok)).toBe(true);
  expect(started).toEqual(asked.map(({ saga }) => saga.id));
});

it("large inputs are sent in calls that fit, none of which is refused", async () => {
  const input = "x".repeat(200 * 1_024);
  const asked = Array.from({ length: 40 }, (_, index) => aStart(index, "", input));
  expect((await perform(contexts, asked)).every(({ ok }) => ok)).toBe(true);
  expect(calls).toEqual(Array.from({ length: 8 }, () => 5));
  expect(begun.every(({ spec }) => spec?.input === input)).toBe(true);
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

it("a handler is asked for by name where capacity is held, and goes with its input to where it starts", async () => {
  const asked = aStart(0);
  const spec = StepSpec.fromPartial({ handler: "resize", input: { url: "https://example.com" } });
  const saga: Saga = { ...asked.saga, spec, placed: { ...place, kind: "PROVIDER_KIND_WORKER" } };
  await reserve(contexts, [saga, aStart(1).saga]);
  expect(requested).toMatchObject([
    { reservationId: saga.id, handler: "resize", needsImage: false },
    { handler: "", needsImage: false },
  ]);
  await perform(contexts, [{ ...asked, saga }]);
  expect(begun).toMatchObject([{ kind: "PROVIDER_KIND_WORKER", spec: { handler: "resize", input: spec.input } }]);
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

const place = { providerId: "", providerName: "local", kind: "PROVIDER_KIND_PROCESS", endpoint: "" };

function aStart(index: number, script = "true", input?: string): Asked {
  const saga: Saga = {
    id: sagaId("00000000-0000-0000-0000-000000000000", "main", index + 1),
    tenant: "default",
    jobId: "00000000-0000-0000-0000-000000000000",
    jobName: "a job",
    step: "main",
    attempt: index + 1,
    priority: 0,
    spec: StepSpec.fromPartial(input === undefined ? { script: { content: script } } : { handler: "resize", input }),
    traceparent: null,
    readyTime: new Date(),
    placementKey: "any process",
    ...{ queue: "default", concurrencyKey: "", deadlineTime: null, orderTime: new Date(0) },
    stage: "RESERVED",
    reason: "UNSPECIFIED",
    message: "",
    placed: place,
    outcome: null,
    failures: 0,
    parkedStage: null,
    version: 1,
    sequence: 0,
    wakeInMs: 0,
  };
  return { saga, command: { type: "start" } };
}
