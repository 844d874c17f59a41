/**
 * The life of a job and its steps. Every rule is here and nothing here reads a clock, makes an id or does I/O.
 *
 *   job    PENDING ─▶ RUNNING ─▶ SUCCEEDED | FAILED | TIMED_OUT | CANCELLED
 *             └─────────┴─▶ CANCELLING ─▶ CANCELLED | TIMED_OUT
 *
 *   step   BLOCKED ─▶ READY ─▶ RUNNING ─▶ SUCCEEDED | FAILED | TIMED_OUT | CANCELLED | SKIPPED
 *                       ▲         │
 *                       └ BACKOFF ◀┘   the next attempt
 *
 * One move of a job is one change, and one change is one fact: the job's own when the job moved, otherwise the step's.
 */
import { DomainError } from "@capstan/errors";
import { backoffMs, isWorthRepeating, type RetryPolicy } from "./retry.ts";

export type JobState = "PENDING" | "RUNNING" | "CANCELLING" | "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
export type StepState =
  | "BLOCKED"
  | "READY"
  | "RUNNING"
  | "BACKOFF"
  | "SUSPENDED"
  | "SUCCEEDED"
  | "FAILED"
  | "CANCELLED"
  | "TIMED_OUT"
  | "SKIPPED";

/** Why something is in its state: the words of `capstan.job.v1.Reason` without their prefix. */
export type Reason = string;

export interface Step {
  readonly name: string;
  readonly state: StepState;
  readonly reason: Reason;
  readonly message: string;
  /** The current attempt, from 1. */
  readonly attempt: number;
  readonly executionId: string | null;
  readonly providerName: string;
  /** When the step goes on by itself; only in BACKOFF and BLOCKED. */
  readonly dueTime: Date | null;
  readonly exitCode: number | null;
  /** JSON value that the workload gave back; undefined if none. */
  readonly result: unknown;
  readonly startTime: Date | null;
  readonly retry: RetryPolicy;
}

export interface Job {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly priority: number;
  readonly state: JobState;
  readonly reason: Reason;
  readonly message: string;
  /** The number of its last fact. */
  readonly sequence: number;
  readonly traceparent: string | null;
  /** The schedule that submitted it; null if none did. */
  readonly scheduleId: string | null;
  readonly steps: readonly Step[];
  /** The result of its last step; undefined until it has succeeded, or if it gave none. */
  readonly result: unknown;
}

export type JobEventType = "submitted" | "started" | "cancelling" | "succeeded" | "failed" | "cancelled" | "timed_out";
export type StepEventType =
  | "ready"
  | "started"
  | "backed_off"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "timed_out"
  | "skipped";

/** A job after a move, the steps that moved with it, and what the fact of it is called. */
export interface Change {
  readonly job: Job;
  readonly noun: "job" | "step";
  readonly event: JobEventType | StepEventType;
  /** With a cancel also the READY ones, which it asks to end. */
  readonly moved: readonly Step[];
}

/** The states each move of a job may begin in. The diagram above and the exhaustive test follow this table. */
export const jobAllowedFrom = {
  submitted: [],
  started: ["PENDING"],
  cancelling: ["PENDING", "RUNNING"],
  succeeded: ["PENDING", "RUNNING"],
  failed: ["PENDING", "RUNNING"],
  cancelled: ["PENDING", "RUNNING", "CANCELLING"],
  timed_out: ["PENDING", "RUNNING", "CANCELLING"],
} as const satisfies Record<JobEventType, readonly JobState[]>;

/** The states each move of a step may begin in. READY may end at once: its start was never seen, or it was never placed. */
export const stepAllowedFrom = {
  ready: ["BLOCKED", "BACKOFF"],
  started: ["READY"],
  backed_off: ["READY", "RUNNING"],
  succeeded: ["READY", "RUNNING"],
  failed: ["READY", "RUNNING"],
  cancelled: ["BLOCKED", "READY", "RUNNING", "BACKOFF", "SUSPENDED"],
  timed_out: ["READY", "RUNNING"],
  skipped: ["BLOCKED", "READY", "RUNNING", "BACKOFF", "SUSPENDED"],
} as const satisfies Record<StepEventType, readonly StepState[]>;

const stateAfter = {
  ready: "READY",
  started: "RUNNING",
  backed_off: "BACKOFF",
  succeeded: "SUCCEEDED",
  failed: "FAILED",
  cancelled: "CANCELLED",
  timed_out: "TIMED_OUT",
  skipped: "SKIPPED",
} as const satisfies Record<StepEventType, StepState>;

export function isJobTerminal(state: JobState): boolean {
  return state === "SUCCEEDED" || state === "FAILED" || state === "CANCELLED" || state === "TIMED_OUT";
}

export function isStepTerminal(state: StepState): boolean {
  return isJobTerminal(state as JobState) || state === "SKIPPED";
}

/** Moves a step, or throws ABORTED if the table does not allow it: a bug of ours, never a user's fault. */
export function moveStep(step: Step, event: StepEventType, fields: Partial<Omit<Step, "name" | "state">>): Step {
  assertAllowed(stepAllowedFrom[event], step.state, `step ${step.name}`, event);
  return { ...step, reason: "UNSPECIFIED", message: "", dueTime: null, ...fields, state: stateAfter[event] };
}

function assertAllowed(from: readonly string[], state: string, what: string, event: string): void {
  if (from.includes(state)) return;
  throw new DomainError({
    code: "ABORTED",
    reason: "ILLEGAL_MOVE",
    message: `${what} is ${state}; ${event} cannot happen`,
  });
}

/** What can happen to an attempt, as the orchestrator reports it. */
export interface Report {
  readonly step: string;
  readonly attempt: number;
  readonly outcome: "WAITING" | "STARTED" | "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT" | "LOST" | "SKIPPED";
  readonly executionId: string | null;
  readonly providerName: string;
  readonly reason: Reason;
  readonly message: string;
  readonly exitCode: number | null;
  readonly result: unknown;
  readonly time: Date | null;
  /** When it began, told with its end; null when it never did, or when that is told by itself. */
  readonly startTime: Date | null;
}

/** Applied with what changed (`null` noun: only a waiting reason, which is no fact), or why nothing changed. */
export type ReportAnswer =
  | { readonly outcome: "APPLIED"; readonly change: Change }
  | { readonly outcome: "APPLIED"; readonly change: null; readonly job: Job; readonly step: Step }
  | { readonly outcome: "REPEATED" | "STALE" | "UNKNOWN" };

/** Decides what a report means for a job. `now` is the database's clock; `random` in [0, 1) spreads the backoff. */
export function report(job: Job, said: Report, now: Date, random: number): ReportAnswer {
  const step = job.steps.find((candidate) => candidate.name === said.step);
  if (step === undefined) return { outcome: "UNKNOWN" };
  if (said.attempt !== step.attempt) return { outcome: "STALE" };
  if (isStepTerminal(step.state)) return { outcome: step.state === said.outcome ? "REPEATED" : "STALE" };
  if (step.state === "BACKOFF" || step.state === "BLOCKED") return { outcome: "REPEATED" };
  if (said.outcome === "WAITING") return wait(job, step, said);
  if (said.outcome === "STARTED" && step.state === "RUNNING") return { outcome: "REPEATED" };
  return { outcome: "APPLIED", change: moved(job, [outcomeOf(job, step, said, now, random)]) };
}

function wait(job: Job, step: Step, { reason, message }: Report): ReportAnswer {
  if (step.state !== "READY") return { outcome: "STALE" };
  if (step.reason === reason && step.message === message) return { outcome: "REPEATED" };
  const waiting = { ...step, reason, message };
  return { outcome: "APPLIED", change: null, job: withSteps(job, [waiting]), step: waiting };
}

function outcomeOf(job: Job, step: Step, said: Report, now: Date, random: number): StepMove {
  const { executionId, providerName, reason, message, exitCode, result } = said;
  const placed = {
    executionId: executionId ?? step.executionId,
    providerName: providerName || step.providerName,
    startTime: step.startTime ?? said.startTime,
  };
  switch (said.outcome) {
    case "STARTED":
      return ["started", moveStep(step, "started", { ...placed, startTime: said.time ?? now })];
    case "SUCCEEDED":
      return ["succeeded", moveStep(step, "succeeded", { ...placed, exitCode, result, message })];
    case "CANCELLED":
      return ["cancelled", moveStep(step, "cancelled", { ...placed, reason, message, exitCode })];
    case "SKIPPED":
      return ["skipped", moveStep(step, "skipped", { ...placed, reason, message })];
    case "FAILED":
    case "LOST":
    case "TIMED_OUT": {
      const ended = { ...placed, reason, message, exitCode, result };
      if (job.state !== "CANCELLING" && isWorthRepeating(step.retry, step.attempt, said)) {
        const dueTime = new Date(now.getTime() + backoffMs(step.retry, step.attempt, random));
        return ["backed_off", moveStep(step, "backed_off", { ...ended, dueTime })];
      }
      const event = said.outcome === "TIMED_OUT" ? "timed_out" : "failed";
      return [event, moveStep(step, event, ended)];
    }
    default:
      throw new DomainError({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS", message: "outcome is not given" });
  }
}

type StepMove = readonly [event: StepEventType, step: Step];

/** The job after its steps have moved: its own move if that ends or begins it, otherwise the step's. */
function moved(job: Job, moves: readonly StepMove[]): Change {
  const steps = moves.map(([, step]) => step);
  const after = withSteps(job, steps);
  const event = jobEventOf(after);
  if (event !== null) return { ...moveJob(after, event, causeOf(after)), moved: steps };
  const [first] = moves;
  if (first === undefined) throw new Error("a change without a move");
  return { job: { ...after, sequence: job.sequence + 1 }, noun: "step", event: first[0], moved: steps };
}

function withSteps(job: Job, changed: readonly Step[]): Job {
  return { ...job, steps: job.steps.map((step) => changed.find(({ name }) => name === step.name) ?? step) };
}

/** Null while the job stays in its state. */
function jobEventOf({ state, reason, steps }: Job): JobEventType | null {
  if (steps.every((step) => isStepTerminal(step.state))) {
    if (state === "CANCELLING") return reason === "JOB_TIMEOUT" ? "timed_out" : "cancelled";
    if (steps.some((step) => step.state === "FAILED")) return "failed";
    if (steps.some((step) => step.state === "TIMED_OUT")) return "timed_out";
    return steps.some((step) => step.state === "CANCELLED") ? "cancelled" : "succeeded";
  }
  return state === "PENDING" && steps.some((step) => step.state === "RUNNING") ? "started" : null;
}

/** A job that is being cancelled keeps the reason it was given; otherwise it takes that of the step that decided. */
function causeOf(job: Job): { reason: Reason; message: string } {
  if (job.state === "CANCELLING") return { reason: job.reason, message: job.message };
  const states: readonly StepState[] = ["FAILED", "TIMED_OUT", "CANCELLED"];
  const cause = states
    .map((state) => job.steps.find((step) => step.state === state))
    .find((step) => step !== undefined);
  return { reason: cause?.reason ?? "UNSPECIFIED", message: cause?.message ?? "" };
}

const jobStateAfter = {
  submitted: "PENDING",
  started: "RUNNING",
  cancelling: "CANCELLING",
  succeeded: "SUCCEEDED",
  failed: "FAILED",
  cancelled: "CANCELLED",
  timed_out: "TIMED_OUT",
} as const satisfies Record<JobEventType, JobState>;

/** Moves a job, or throws ABORTED if the table does not allow it. */
export function moveJob(
  job: Job,
  event: JobEventType,
  cause: { reason: Reason; message: string },
): Omit<Change, "moved"> {
  assertAllowed(jobAllowedFrom[event], job.state, `job ${job.id}`, event);
  const result = event === "succeeded" ? job.steps.at(-1)?.result : undefined;
  const after: Job = { ...job, ...cause, result, state: jobStateAfter[event], sequence: job.sequence + 1 };
  return { job: after, noun: "job", event };
}

/**
 * Asks a job to end. What does not run ends at once; the rest ends when the orchestrator confirms it. Null if it was asked
 * before or has been cancelled; refuses a job that has ended in another way.
 */
export function cancel(job: Job, cause: { reason: Reason; message: string }): Change | null {
  if (job.state === "CANCELLING" || job.state === "CANCELLED") return null;
  if (isJobTerminal(job.state)) {
    throw new DomainError({
      code: "FAILED_PRECONDITION",
      reason: "JOB_HAS_ENDED",
      message: `job ${job.id} is ${job.state}; only a job that has not ended can be cancelled`,
      metadata: { jobId: job.id, state: job.state },
    });
  }
  const idle = job.steps.filter(({ state }) => state === "BLOCKED" || state === "BACKOFF" || state === "SUSPENDED");
  const steps = idle.map((step) => moveStep(step, "cancelled", cause));
  const after = withSteps(job, steps);
  const isOver = after.steps.every((step) => isStepTerminal(step.state));
  const event = !isOver ? "cancelling" : cause.reason === "JOB_TIMEOUT" ? "timed_out" : "cancelled";
  // Told with what to run, because this fact may overtake the one that told so first: there must be something to cancel.
  const ready = after.steps.filter(({ state }) => state === "READY");
  return { ...moveJob(after, event, cause), moved: [...steps, ...ready] };
}

/** Makes READY what was waiting for its time. Null if nothing is due. */
export function wake(job: Job, now: Date): Change | null {
  const due = job.steps.filter(({ dueTime }) => dueTime !== null && dueTime <= now);
  if (due.length === 0 || job.state === "CANCELLING" || isJobTerminal(job.state)) return null;
  const moves = due.map((step): StepMove => {
    const attempt = step.state === "BACKOFF" ? step.attempt + 1 : step.attempt;
    const fresh = { attempt, executionId: null, providerName: "", startTime: null };
    return ["ready", moveStep(step, "ready", { ...fresh, reason: "QUEUED" })];
  });
  return moved(job, moves);
}

/** Refuses to repeat a job that still runs or that has succeeded. */
export function assertRetriable(job: Pick<Job, "id" | "state">): void {
  if (job.state === "FAILED" || job.state === "TIMED_OUT" || job.state === "CANCELLED") return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: job.state === "SUCCEEDED" ? "JOB_HAS_SUCCEEDED" : "JOB_HAS_NOT_ENDED",
    message: `job ${job.id} is ${job.state}; only a job that has ended without success can be retried`,
    metadata: { jobId: job.id, state: job.state },
  });
}
