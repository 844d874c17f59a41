/** Jobs as messages and facts. Domain words are the enum names without their prefix, so that both sides type-check. */
import { hash } from "node:crypto";
import { type Fact, type StoredFact, uuidv7 } from "@capstan/postgres";
import { type Reason as ReasonMessage, reasonFromJSON } from "@capstan/proto/capstan/job/v1/job.ts";
import { JobEvent } from "@capstan/proto/capstan/job/v1/job_event.ts";
import type { ExecutionReport, JobEventPage } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import type { Event } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec, type StepSpec, TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Change, Job, Step } from "./job.ts";
import { isJobTerminal } from "./job.ts";
import type { JobPage } from "./jobEventQueries.ts";
import type { Report } from "./report.ts";

export function reasonMessage(reason: string): ReasonMessage {
  return reasonFromJSON(`REASON_${reason}`);
}

/** The fact of a change. `spec` is needed when a step became READY, because the fact says what to run. */
export function factOf(change: Change, spec: JobSpec | null, causationId: string, birth: Partial<JobEvent> = {}): Fact {
  const { job, noun, event, moved, spared } = change;
  // Written out whole: filling in what is missing would copy the specs.
  const data: JobEvent = {
    ...nothingOfBirth,
    ...birth,
    jobId: job.id,
    name: job.name,
    state: `JOB_STATE_${job.state}`,
    reason: reasonMessage(job.reason),
    message: job.message,
    priority: job.priority,
    queue: job.queue,
    concurrencyKey: job.concurrencyKey,
    deadlineTime: job.deadlineTime ?? undefined,
    result: toldResultOf(job),
    sparedSteps: [...(spared ?? [])],
    steps: moved.map((step) => ({
      name: step.name,
      state: `STEP_STATE_${step.state}` as const,
      reason: reasonMessage(step.reason),
      message: step.message,
      attempt: step.attempt,
      executionId: step.executionId ?? "",
      exitCode: step.exitCode ?? undefined,
      dueTime: step.dueTime ?? undefined,
      spec: step.state === "READY" ? (change.told?.get(step.name) ?? toldSpecOf(event, spec, step)) : undefined,
      childJobId: step.childJobId ?? "",
    })),
  };
  return {
    id: uuidv7(),
    tenant: job.tenant,
    noun,
    event,
    aggregateId: job.id,
    sequence: job.sequence,
    correlationId: job.id,
    causationId,
    traceparent: job.traceparent,
    data: JobEvent.toJSON(data) as object,
    isTerminal: noun === "job" && isJobTerminal(job.state),
  };
}

const nothingOfBirth = {
  labels: {},
  retryOf: "",
  source: "",
  parentJobId: "",
  template: "",
  templateVersion: 0,
  scheduleId: "",
  rerunOf: "",
};

/** That of a workflow can be larger than a fact may be; whoever needs it reads the job. */
function toldResultOf({ result, isWorkflow }: Job): unknown {
  if (!isWorkflow || result === undefined) return result;
  return Buffer.byteLength(JSON.stringify(result)) <= maxToldResultBytes ? result : undefined;
}

export const maxToldResultBytes = 256 * 1024;

/** A cancel names what shall end, and so needs no input of it: that may be large, and nothing will run. */
function toldSpecOf(event: string, spec: JobSpec | null, step: Step): StepSpec {
  const told = stepSpecOf(spec, step);
  return event === "cancelling" ? { ...told, input: undefined } : told;
}

function stepSpecOf(spec: JobSpec | null, { name }: Step): StepSpec {
  const step = spec?.steps.find((candidate) => candidate.name === name);
  if (step === undefined) throw new Error(`the spec has no step ${name}`);
  return step;
}

/** SHA-256 over the spec's JSON mapping with its maps in order, so that the same content always gives the same hash. */
export function hashOf(specJson: unknown): Uint8Array {
  return hash("sha256", sortedJson(specJson), "buffer");
}

/** The same of a request with a template: what was said counts, and not which version was the newest then. */
export function hashOfUse(use: TemplateUse, spec: JobSpec | undefined): Uint8Array {
  const said = [TemplateUse.toJSON(use), spec === undefined ? {} : JobSpec.toJSON(spec)];
  return hash("sha256", sortedJson(said), "buffer");
}

/** JSON with the keys of its objects in order: the same content gives the same text. */
export function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => sorted(part));
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Null if the report does not say what happened. */
export function reportFromMessage(message: ExecutionReport): Report | null {
  const outcome = outcomes[message.outcome];
  if (outcome === undefined) return null;
  return {
    step: message.step,
    attempt: message.attempt,
    outcome,
    executionId: message.executionId || null,
    providerName: message.providerName,
    reason: message.reason.slice("REASON_".length) || "UNSPECIFIED",
    message: message.message,
    exitCode: message.exitCode ?? null,
    result: message.result,
    time: message.time ?? null,
    startTime: message.startTime ?? null,
  };
}

const outcomes: Readonly<Record<string, Report["outcome"]>> = {
  EXECUTION_OUTCOME_WAITING: "WAITING",
  EXECUTION_OUTCOME_STARTED: "STARTED",
  EXECUTION_OUTCOME_SUCCEEDED: "SUCCEEDED",
  EXECUTION_OUTCOME_FAILED: "FAILED",
  EXECUTION_OUTCOME_CANCELLED: "CANCELLED",
  EXECUTION_OUTCOME_TIMED_OUT: "TIMED_OUT",
  EXECUTION_OUTCOME_LOST: "LOST",
  EXECUTION_OUTCOME_SKIPPED: "SKIPPED",
};

export function eventMessage({ id, noun, event, sequence, time, json }: StoredFact): Event {
  return {
    id,
    type: `capstan.job.v1.${noun}.${event}`,
    sequence,
    time,
    data: JSON.parse(json) as { [key: string]: unknown },
  };
}

export function pageMessage(page: JobPage | null): JobEventPage {
  if (page === null) return { found: false, sequence: 0, hasEnded: false, events: [], labels: {} };
  const { sequence, hasEnded, facts, labels } = page;
  const events = facts.map((fact) => ({
    id: fact.id,
    type: `capstan.job.v1.${fact.noun}.${fact.event}`,
    sequence: fact.sequence,
    time: fact.time,
    causationId: fact.causationId,
    traceparent: fact.traceparent ?? "",
    isTerminal: fact.isTerminal,
    dataJson: fact.json,
  }));
  return { found: true, sequence, hasEnded, events, labels };
}
