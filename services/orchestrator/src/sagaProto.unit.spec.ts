import type { ReceivedFact } from "@capstan/messaging";
import { CapacityAnswer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { expect, it } from "vitest";
import { executionNewsOf, newSagasOf, placementOf } from "./sagaProto.ts";

it("capacity that is held says where", () => {
  const place = { providerId: "p1", providerName: "local", kind: "PROVIDER_KIND_PROCESS", endpoint: "" } as const;
  const answer = CapacityAnswer.fromPartial({ outcome: { $case: "held", value: { ...place, score: 1 } } });
  expect(placementOf(answer)).toEqual({ type: "held", placed: place });
});

it("want of a place is a reason to wait, a request that its cancel took back is none", () => {
  const refused = (reason: "REASON_NO_CAPACITY" | "REASON_OPERATOR") =>
    CapacityAnswer.fromPartial({ outcome: { $case: "refused", value: { reason, message: "why" } } });
  expect(placementOf(refused("REASON_NO_CAPACITY"))).toMatchObject({ type: "notPlaced", reason: "NO_CAPACITY" });
  expect(placementOf(refused("REASON_OPERATOR"))).toMatchObject({ type: "commandFailed" });
});

const jobId = "01890000-0000-7000-8000-000000000001";

function aFact(noun: string, event: string, data: object): ReceivedFact {
  const { tenant, time } = { tenant: "default", time: new Date(0) };
  // What a stream adds is not looked at here.
  return {
    noun,
    event,
    type: `${noun}.${event}`,
    tenant,
    time,
    aggregateId: jobId,
    traceparent: null,
    data,
  } as ReceivedFact;
}

function sagaOf(spec: object) {
  const steps = [{ name: "main", state: "STEP_STATE_READY", attempt: 1, spec }];
  const [saga] = newSagasOf(aFact("job", "submitted", { jobId, name: "a job", steps }));
  if (saga === undefined) throw new Error("no saga");
  return saga;
}

it("a saga has its handler and its input as the fact told them, `null` within it too", () => {
  const input = { url: "https://example.com", sizes: [1, 2.5, null], on: true };
  expect(sagaOf({ handler: "resize", input }).spec).toMatchObject({ handler: "resize", input });
});

it("sagas wait for the same places whatever their input, and for others with another handler", () => {
  const key = (spec: object) => sagaOf(spec).placementKey;
  expect(key({ handler: "resize", input: 1 })).toBe(key({ handler: "resize", input: 2 }));
  expect(key({ handler: "resize" })).not.toBe(key({ handler: "crop" }));
  expect(key({ handler: "resize" })).not.toBe(key({ command: ["true"] }));
});

it("why a handler failed comes through, and what it returned", () => {
  const news = (event: string, data: object) =>
    executionNewsOf(aFact("execution", event, { executionId: jobId, ...data }))?.outcome;
  expect(news("failed", { reason: "REASON_HANDLER_FAILED", message: "why" })).toMatchObject({
    type: "FAILED",
    reason: "HANDLER_FAILED",
    message: "why",
    exitCode: null,
  });
  expect(news("failed", { reason: "REASON_NON_RETRYABLE" })).toMatchObject({ reason: "NON_RETRYABLE" });
  expect(news("lost", { reason: "REASON_LOST" })).toMatchObject({ type: "LOST", reason: "LOST" });
  expect(news("succeeded", { result: { width: 7 } })).toMatchObject({ type: "SUCCEEDED", result: { width: 7 } });
});

it("a worker that is lost is no news of an execution", () => {
  expect(executionNewsOf(aFact("worker", "lost", { worker: { id: jobId } }))).toBeNull();
});
