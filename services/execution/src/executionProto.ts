/** Our types to the contract's messages and back. */
import { constraintsOf } from "@capstan/labels";
import type { Fact } from "@capstan/postgres";
import type { LogSummary } from "@capstan/proto/capstan/execution/v1/execution.ts";
import { ExecutionEvent as ExecutionEventMessage } from "@capstan/proto/capstan/execution/v1/execution_event.ts";
import type { ExecutionStart, ExecutionStop } from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import type { Reason } from "@capstan/proto/capstan/job/v1/job.ts";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import type { HandlerCall, Workload } from "./backends/backend.ts";
import {
  type Assignment,
  type Execution,
  type ExecutionReason,
  factNames,
  isEnded,
  type ProviderKind,
  type PublishedEvent,
  providerKinds,
} from "./execution.ts";
import type { LogTotals } from "./logTotals.ts";
import type { StopRequest } from "./stopStore.ts";

export function toReason(reason: ExecutionReason): Reason {
  return `REASON_${reason}`;
}

/** The kind in our words; null when no backend of ours drives it. */
export function fromKind(kind: string): ProviderKind | null {
  return providerKinds.find((known) => kind === `PROVIDER_KIND_${known}`) ?? null;
}

/** Checked before; see executionInternalService.ts. */
export function toAssignment(start: ExecutionStart, kind: ProviderKind, spec: StepSpec): Assignment {
  return {
    id: start.executionId,
    tenant: start.tenant,
    jobId: start.jobId,
    step: start.step,
    attempt: start.attempt,
    providerId: start.providerId,
    providerName: start.providerName,
    kind,
    endpoint: start.endpoint,
    spec,
    // It becomes a message header; anything else would keep its facts from being published.
    traceparent: traceparentPattern.test(start.traceparent) ? start.traceparent : null,
  };
}

const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

const stopReasons = {
  REASON_CANCELLED_BY_USER: "CANCELLED_BY_USER",
  REASON_JOB_TIMEOUT: "JOB_TIMEOUT",
  REASON_START_TIMEOUT: "START_TIMEOUT",
  REASON_OPERATOR: "OPERATOR",
} as const satisfies Partial<Record<Reason, StopRequest["reason"]>>;

/** Null when the reason is none that a caller may give. */
export function toStopRequest(stop: ExecutionStop): StopRequest | null {
  const reason = stopReasons[stop.reason as keyof typeof stopReasons];
  if (reason === undefined) return null;
  return {
    id: stop.executionId,
    reason,
    message: stop.message.slice(0, maxStopMessage),
    tenant: stop.tenant,
    jobId: stop.jobId,
    step: stop.step,
    attempt: stop.attempt,
  };
}

const maxStopMessage = 2_000;

/** What the backend may know, field by field. */
export function toWorkload(assignment: Assignment, fence: number): Workload {
  const { id, jobId, attempt, tenant, kind, spec } = assignment;
  return {
    executionId: id,
    jobId,
    attempt,
    tenant,
    fence,
    command: [...spec.command, ...spec.args],
    script: spec.script ?? null,
    image: kind === "DOCKER" ? spec.image : null,
    env: spec.env,
    workingDirectory: spec.workingDirectory === "" ? null : spec.workingDirectory,
    stdin: spec.stdin.length === 0 ? null : spec.stdin,
    cpuMillis: spec.resources?.cpuMillis ?? 0,
    memoryMib: spec.resources?.memoryMib ?? 0,
    network: spec.network === "NETWORK_BRIDGE" ? "BRIDGE" : "NONE",
    handler: kind === "WORKER" ? toHandlerCall(assignment) : null,
  };
}

export function toHandlerCall({ providerName, step, spec, traceparent }: Assignment): HandlerCall {
  const { handler: name, input, placement } = spec;
  return {
    pool: providerName,
    name,
    input,
    constraints: constraintsOf(placement?.constraints ?? []),
    step,
    traceparent,
  };
}

/** How long the phases of an execution may take, in milliseconds; Infinity is no limit. */
export interface Limits {
  readonly startTimeoutMs: number;
  readonly runTimeoutMs: number;
  readonly stopGraceMs: number;
}

/** With the defaults of the contract where the spec says nothing. */
export function limitsOf(spec: StepSpec): Limits {
  return {
    startTimeoutMs: toMs(spec.startTimeout) || 5 * 60_000,
    runTimeoutMs: toMs(spec.runTimeout) || Number.POSITIVE_INFINITY,
    stopGraceMs: toMs(spec.stopGrace) || 10_000,
  };
}

function toMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1_000 + duration.nanos / 1e6;
}

export function toLogSummary(totals: LogTotals, isSealed: boolean): LogSummary {
  return { ...totals, isSealed };
}

/** What surrounds a fact. */
interface FactContext {
  readonly factId: string;
  readonly assignment: Assignment;
  /** After the event. */
  readonly execution: Execution;
  readonly traceparent: string | null;
  /** Null while this runner has not seen it run. */
  readonly startTime: Date | null;
  /** Sealed, with the end; null before. */
  readonly log: LogTotals | null;
}

export function toFact(
  event: PublishedEvent,
  { factId, assignment, execution, traceparent, startTime, log }: FactContext,
): Fact {
  const hasEnded = isEnded(event);
  const message = ExecutionEventMessage.fromPartial({
    executionId: execution.id,
    jobId: assignment.jobId,
    step: assignment.step,
    attempt: assignment.attempt,
    providerId: assignment.providerId,
    providerName: assignment.providerName,
    state: `EXECUTION_STATE_${execution.state}`,
    reason: toReason(execution.reason),
    message: execution.message,
    signal: execution.signal,
    ...(execution.exitCode === null ? {} : { exitCode: execution.exitCode }),
    ...(execution.result === null ? {} : { result: JSON.parse(execution.result) }),
    ...(event.time === null ? {} : { time: event.time }),
    ...(hasEnded && log !== null ? { log: toLogSummary(log, true) } : {}),
    ...(hasEnded && startTime !== null ? { startTime } : {}),
  });
  return {
    id: factId,
    tenant: assignment.tenant,
    noun: "execution",
    event: factNames[event.type],
    aggregateId: execution.id,
    sequence: execution.sequence,
    correlationId: assignment.jobId,
    causationId: execution.id,
    traceparent,
    data: ExecutionEventMessage.toJSON(message) as object,
    isTerminal: hasEnded,
  };
}

/** The only fact of an execution that was stopped before it was known. */
export function toMarkFact(stop: StopRequest, factId: string): Fact {
  const message = ExecutionEventMessage.fromPartial({
    executionId: stop.id,
    jobId: stop.jobId,
    step: stop.step,
    attempt: stop.attempt,
    state: "EXECUTION_STATE_CANCELLED",
    reason: toReason(stop.reason),
    message: stop.message,
  });
  return {
    id: factId,
    tenant: stop.tenant,
    noun: "execution",
    event: "cancelled",
    aggregateId: stop.id,
    sequence: 1,
    correlationId: stop.jobId,
    causationId: stop.id,
    traceparent: null,
    data: ExecutionEventMessage.toJSON(message) as object,
    isTerminal: true,
  };
}
