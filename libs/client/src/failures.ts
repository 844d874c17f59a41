/** What the SDK throws beside the platform's refusals, and what may be tried again. */
import { DomainError } from "@capstan/errors";
import type { Job, JobState, Reason } from "@capstan/proto/capstan/job/v1/job.ts";

/** How a job ended without success. */
export type FailedState = "FAILED" | "CANCELLED" | "TIMED_OUT";
/** Why, in the words of `capstan.job.v1.Reason`. */
export type ReasonWord = Reason extends infer R ? (R extends `REASON_${infer Word}` ? Word : never) : never;

/** A job has ended without success. */
export class JobFailed extends Error {
  readonly jobId: string;
  readonly state: FailedState;
  /** Why: programs decide by it, people read the message. */
  readonly reason: ReasonWord;
  /** Of the step that failed, the first of several. Null when nothing exited, as with a handler. */
  readonly exitCode: number | null;

  constructor(job: Job) {
    const reason = reasonWord(job.reason);
    super(job.message || `job ${job.id} has ended as ${stateWord(job.state)}: ${reason}`);
    this.name = "JobFailed";
    this.jobId = job.id;
    this.state = stateWord(job.state) as FailedState;
    this.reason = reason;
    const failed = job.steps.find(({ state }) => state === "STEP_STATE_FAILED") ?? job.steps.at(-1);
    this.exitCode = failed?.exitCode ?? null;
  }
}

/** Thrown by a handler: repeating cannot cure it, so no further attempt is made. */
export class NonRetryable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "NonRetryable";
  }
}

/** Why a handler has to stop: a reason for which the platform stops, or what happened to its worker. */
export type StopReason = ReasonWord | "CUT_OFF" | "WORKER_STOPPED";

/** The reason of a handler's signal. */
export class Stopped extends Error {
  readonly reason: StopReason;

  constructor(reason: StopReason, message: string) {
    super(message);
    this.name = "Stopped";
    this.reason = reason;
  }
}

export type JobStateWord = JobState extends infer S ? (S extends `JOB_STATE_${infer Word}` ? Word : never) : never;

/** `FAILED` of `JOB_STATE_FAILED`. */
export function stateWord(state: JobState): JobStateWord {
  return state.slice("JOB_STATE_".length) as JobStateWord;
}

/** `EXIT_CODE` of `REASON_EXIT_CODE`. */
export function reasonWord(reason: Reason): ReasonWord {
  return reason.slice("REASON_".length) as ReasonWord;
}

const finalStates: readonly JobState[] = [
  "JOB_STATE_SUCCEEDED",
  "JOB_STATE_FAILED",
  "JOB_STATE_CANCELLED",
  "JOB_STATE_TIMED_OUT",
];

export function isFinal(state: JobState): boolean {
  return finalStates.includes(state);
}

/** The failure of what its caller gave up. */
export function cancelled(): DomainError {
  return new DomainError({ code: "CANCELLED", reason: "CANCELLED", message: "the caller has given up" });
}

/** The failure of what was not done in time. */
export function tooLate(message: string): DomainError {
  return new DomainError({ code: "DEADLINE_EXCEEDED", reason: "DEADLINE_EXCEEDED", message });
}

/**
 * True if the connection or the server went away, so that the same may be asked again. A server that goes away may also cancel
 * what is under way, and a connection that breaks in the middle of a frame is INTERNAL to gRPC.
 */
export function isBroken(error: unknown): error is DomainError {
  if (!(error instanceof DomainError)) return false;
  const { code, message } = error;
  return code === "UNAVAILABLE" || code === "CANCELLED" || (code === "INTERNAL" && message.includes("RST_STREAM"));
}
