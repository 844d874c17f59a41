/** What the orchestrator reports of an attempt, and what that means for its step. */
import { DomainError } from "@capstan/errors";
import {
  type Change,
  isStepTerminal,
  type Job,
  moved,
  moveStep,
  type Reason,
  type Step,
  type StepMove,
  withSteps,
} from "./job.ts";
import { backoffMs, isWorthRepeating } from "./retry.ts";

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

/** Applied with what changed (`null` change: only a waiting reason, which is no fact), or why nothing changed. */
type ReportAnswer =
  | { readonly outcome: "APPLIED"; readonly change: Change }
  | { readonly outcome: "APPLIED"; readonly change: null; readonly job: Job; readonly step: Step }
  | { readonly outcome: "REPEATED" | "STALE" | "UNKNOWN" };

/** What a report comes to for its step: a move, another reason to wait, or nothing. */
export type StepAnswer =
  | { readonly outcome: "APPLIED"; readonly move: StepMove }
  | { readonly outcome: "APPLIED"; readonly waiting: Step }
  | { readonly outcome: "REPEATED" | "STALE" | "UNKNOWN" };

/** When a report is decided, and by what. */
export interface Moment {
  /** The database's clock. */
  readonly now: Date;
  /** In [0, 1): spreads the backoff. */
  readonly random: number;
  /** False while the step is asked to end. */
  readonly mayRepeat: boolean;
}

/** Decides what a report means for a job of one step. `now` is the database's clock; `random` in [0, 1) spreads the backoff. */
export function report(job: Job, said: Report, now: Date, random: number): ReportAnswer {
  const step = job.steps.find((candidate) => candidate.name === said.step);
  const answer = answerOf(step, said, { now, random, mayRepeat: job.state !== "CANCELLING" });
  if (answer.outcome !== "APPLIED") return answer;
  if ("move" in answer) return { outcome: "APPLIED", change: moved(job, [answer.move]) };
  return { outcome: "APPLIED", change: null, job: withSteps(job, [answer.waiting]), step: answer.waiting };
}

/** Decides what a report means for its step; undefined is one that the job does not have. */
export function answerOf(step: Step | undefined, said: Report, moment: Moment): StepAnswer {
  if (step === undefined) return { outcome: "UNKNOWN" };
  if (said.attempt !== step.attempt) return { outcome: "STALE" };
  if (isStepTerminal(step.state)) return { outcome: step.state === said.outcome ? "REPEATED" : "STALE" };
  if (step.state === "BACKOFF" || step.state === "BLOCKED") return { outcome: "REPEATED" };
  if (step.state === "SUSPENDED") return { outcome: "STALE" };
  if (said.outcome === "WAITING") return wait(step, said);
  if (said.outcome === "STARTED" && step.state === "RUNNING") return { outcome: "REPEATED" };
  return { outcome: "APPLIED", move: moveOf(step, said, moment) };
}

function wait(step: Step, { reason, message }: Report): StepAnswer {
  if (step.state !== "READY") return { outcome: "STALE" };
  if (step.reason === reason && step.message === message) return { outcome: "REPEATED" };
  return { outcome: "APPLIED", waiting: { ...step, reason, message } };
}

function moveOf(step: Step, said: Report, { now, random, mayRepeat }: Moment): StepMove {
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
      const ended = { ...placed, reason, message, exitCode };
      if (mayRepeat && isWorthRepeating(step.retry, step.attempt, said)) {
        const dueTime = new Date(now.getTime() + backoffMs(step.retry, step.attempt, random));
        return ["backed_off", moveStep(step, "backed_off", { ...ended, dueTime })];
      }
      const event = said.outcome === "TIMED_OUT" ? "timed_out" : "failed";
      return [event, moveStep(step, event, { ...ended, result })];
    }
    default:
      throw new DomainError({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS", message: "outcome is not given" });
  }
}
