/** Sagas as messages and facts, and the facts of other contexts as what happened to a saga. */
import { hash } from "node:crypto";
import { DomainError } from "@capstan/errors";
import type { ReceivedFact } from "@capstan/messaging";
import { type Fact, uuidv7 } from "@capstan/postgres";
import { ExecutionEvent } from "@capstan/proto/capstan/execution/v1/execution_event.ts";
import { reasonFromJSON } from "@capstan/proto/capstan/job/v1/job.ts";
import { JobEvent } from "@capstan/proto/capstan/job/v1/job_event.ts";
import { Placement, Resources, type StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { Saga as SagaMessage } from "@capstan/proto/capstan/orchestrator/v1/saga.ts";
import { SagaEvent } from "@capstan/proto/capstan/orchestrator/v1/saga_event.ts";
import type { SagaFact } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import type { CapacityAnswer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { Hold } from "./holdStore.ts";
import { type Happened, type News, type Outcome, type Saga, sagaId } from "./runJob.ts";
import type { SagaFactRow, SagaView } from "./sagaQueries.ts";
import type { NewSaga } from "./sagaStore.ts";

/** The fact of what an operator should know of a saga; `act` is what an operator did to it, if one did. */
export function factOf(saga: Saga, event: News, act?: { readonly actor: string; readonly note: string }): Fact {
  const message = toMessage({
    ...saga,
    providerName: saga.placed?.providerName ?? "",
    stageTime: new Date(),
    wakeupTime: null,
    createTime: null,
  });
  return {
    id: uuidv7(),
    tenant: saga.tenant,
    noun: "saga",
    event,
    aggregateId: saga.id,
    sequence: saga.sequence,
    correlationId: saga.jobId,
    causationId: "",
    traceparent: saga.traceparent,
    data: SagaEvent.toJSON({ saga: message, actor: act?.actor ?? "", note: act?.note ?? "" }) as object,
  };
}

export function toMessage(
  saga: Omit<SagaView, "createTimeText" | "createTime"> & { createTime: Date | null },
): SagaMessage {
  return SagaMessage.fromPartial({
    id: saga.id,
    tenant: saga.tenant,
    jobId: saga.jobId,
    step: saga.step,
    attempt: saga.attempt,
    stage: `SAGA_STAGE_${saga.stage}`,
    reason: reasonFromJSON(`REASON_${saga.reason}`),
    message: saga.message,
    stageTime: saga.stageTime,
    wakeupTime: saga.wakeupTime ?? undefined,
    providerName: saga.providerName,
    failures: saga.failures,
    createTime: saga.createTime ?? undefined,
    queue: saga.queue,
    concurrencyKey: saga.concurrencyKey,
  });
}

export function factMessage({ id, event, sequence, time, json }: SagaFactRow): SagaFact {
  const data = SagaEvent.fromJSON(JSON.parse(json));
  return { id, type: `capstan.orchestrator.v1.saga.${event}`, sequence, time, data };
}

/**
 * The sagas that a job's fact begins: one per step that is READY. A cancel names those steps too: when it arrives before the fact
 * that made them READY, they begin with it, and end with it.
 */
export function newSagasOf(fact: ReceivedFact): readonly Omit<NewSaga, "orderTime">[] {
  const { jobId, name, priority, steps, queue, concurrencyKey, deadlineTime } = decodeJob(fact);
  return steps.flatMap(({ name: step, state, attempt, spec }) => {
    if (state !== "STEP_STATE_READY" || spec === undefined) return [];
    const id = sagaId(jobId, step, attempt);
    const { tenant, traceparent, time: readyTime } = fact;
    return [
      {
        id,
        tenant,
        jobId,
        jobName: name,
        step,
        attempt,
        priority,
        spec,
        traceparent,
        readyTime,
        placementKey: placementKeyOf(tenant, spec),
        queue: queue || "default",
        concurrencyKey,
        deadlineTime: deadlineTime ?? null,
      },
    ];
  });
}

export interface Cancellation {
  readonly jobId: string;
  readonly reason: string;
  readonly message: string;
  /** False for what runs only after the cancel, whose fact may come again when it does. */
  isAsked(step: string): boolean;
}

/** The job's cancellation; null if the fact is about something else. */
export function cancellationOf(fact: ReceivedFact): Cancellation | null {
  if (fact.noun !== "job" || fact.event !== "cancelling") return null;
  const { jobId, reason, message, sparedSteps } = decodeJob(fact);
  const spared = new Set(sparedSteps);
  // An item is named after its step.
  const isAsked = (step: string) => !spared.has(step.split(".", 1)[0] ?? step);
  return { jobId, reason: reason.slice("REASON_".length), message, isAsked };
}

/** That the job was paused or goes on; null if the fact is about something else. */
export function holdOf(fact: ReceivedFact): Hold | null {
  if (fact.noun !== "job" || (fact.event !== "paused" && fact.event !== "resumed")) return null;
  return { jobId: decodeJob(fact).jobId, isHeld: fact.event === "paused", time: fact.time };
}

/** Steps that ask for the same kind of place have the same key. */
export function placementKeyOf(tenant: string, { image, handler, resources, placement }: StepSpec): string {
  const text = JSON.stringify([
    tenant,
    image !== "",
    handler,
    resources === undefined ? null : Resources.toJSON(resources),
    placement === undefined ? null : Placement.toJSON(placement),
  ]);
  const known = keys.get(text);
  if (known !== undefined) return known;
  if (keys.size === maxKnownKeys) keys.clear();
  const key = hash("sha256", text, "base64url").slice(0, 22);
  keys.set(text, key);
  return key;
}

/** Most steps ask for the same few kinds of place. */
const keys = new Map<string, string>();
const maxKnownKeys = 1_000;

/** What the provider context answers to a request for capacity. */
export function placementOf({ outcome }: CapacityAnswer): Happened {
  if (outcome?.$case === "held") {
    const { providerId, providerName, kind, endpoint } = outcome.value;
    return { type: "held", placed: { providerId, providerName, kind, endpoint } };
  }
  const { reason = "REASON_UNSPECIFIED", message = "" } = outcome?.value ?? {};
  // A cancel gave it back before it was held: no want of a place, for which others would have to wait too.
  if (reason === "REASON_OPERATOR") return { type: "commandFailed", message };
  return { type: "notPlaced", reason: reason.slice("REASON_".length), message };
}

/** What an execution's fact tells: that it runs (`outcome` null), or how it ended. */
export interface ExecutionNews {
  readonly executionId: string;
  /** ISO 8601, by the provider's clock. */
  readonly time: string | null;
  readonly outcome: Outcome | null;
}

const outcomeOfEvent: Readonly<Record<string, Outcome["type"]>> = {
  succeeded: "SUCCEEDED",
  failed: "FAILED",
  cancelled: "CANCELLED",
  timed_out: "TIMED_OUT",
  lost: "LOST",
};

/** Null if the fact tells nothing the path depends on. */
export function executionNewsOf(fact: ReceivedFact): ExecutionNews | null {
  // A worker may be lost, too.
  if (fact.noun !== "execution") return null;
  const type = outcomeOfEvent[fact.event];
  if (fact.event !== "started" && type === undefined) return null;
  const event = decode(
    fact,
    (data) => ExecutionEvent.fromJSON(data),
    ({ executionId }) => executionId,
  );
  const { executionId, message, result } = event;
  const time = event.time?.toISOString() ?? null;
  if (type === undefined) return { executionId, time, outcome: null };
  const reason = event.reason.slice("REASON_".length);
  const startTime = event.startTime?.toISOString() ?? null;
  const exitCode = event.exitCode ?? null;
  return { executionId, time, outcome: { type, reason, message, exitCode, result, startTime, time } };
}

function decodeJob(fact: ReceivedFact): JobEvent {
  return decode(
    fact,
    (data) => JobEvent.fromJSON(data),
    ({ jobId }) => jobId,
  );
}

/** A fact that cannot be read, or is about something else than its subject, never can: it is refused, and becomes a dead letter. */
function decode<T>(
  { data, type, aggregateId }: ReceivedFact,
  read: (data: unknown) => T,
  idOf: (event: T) => string,
): T {
  try {
    const event = read(data);
    if (idOf(event) !== aggregateId) throw new Error(`it is about ${idOf(event) || "nothing"}`);
    return event;
  } catch (error) {
    const message = `${type} cannot be read: ${error instanceof Error ? error.message : "unknown cause"}`;
    throw new DomainError({ code: "INVALID_ARGUMENT", reason: "FACT_UNREADABLE", message });
  }
}
