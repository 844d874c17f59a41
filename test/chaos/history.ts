/**
 * What the client did and was told, call by call: `ok` and `fail` are certain, `unknown` is everything whose answer was lost. Written
 * as it happens and never changed.
 */
import { DomainError } from "@capstan/errors";

export type Outcome = "ok" | "fail" | "unknown";

export interface Submit {
  readonly key: string;
  readonly kind: string;
  readonly outcome: Outcome;
  /** Null unless ok. */
  readonly jobId: string | null;
  readonly code: string;
  readonly timeMs: number;
}

export interface Cancel {
  readonly jobId: string;
  readonly outcome: Outcome;
  readonly timeMs: number;
}

/** One look at a job by one observer; `watch` is told facts in their order, `get` reads the job as it is. */
export interface Sight {
  readonly observer: string;
  readonly jobId: string;
  readonly how: "watch" | "get";
  /** Counts up for each observer. */
  readonly place: number;
  readonly sequence: number;
  readonly type: string;
}

export interface History {
  readonly submits: readonly Submit[];
  readonly cancels: readonly Cancel[];
  readonly sights: readonly Sight[];
  /** Reads right after an accepted submit that did not find the job. */
  readonly missing: readonly string[];
}

export interface HistoryWriter extends History {
  submitted(submit: Omit<Submit, "timeMs">): void;
  cancelled(jobId: string, outcome: Outcome): void;
  saw(sight: Sight): void;
  missed(jobId: string): void;
}

export function openHistory(): HistoryWriter {
  const submits: Submit[] = [];
  const cancels: Cancel[] = [];
  const sights: Sight[] = [];
  const missing: string[] = [];
  return {
    submits,
    cancels,
    sights,
    missing,
    submitted: (submit) => void submits.push({ ...submit, timeMs: Date.now() }),
    cancelled: (jobId, outcome) => void cancels.push({ jobId, outcome, timeMs: Date.now() }),
    saw: (sight) => void sights.push(sight),
    missed: (jobId) => void missing.push(jobId),
  };
}

/** These codes say that nothing was done; with any other the call may have worked. */
const certain = ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "ALREADY_EXISTS", "NOT_FOUND"];

export function outcomeOfCode(code: string): "fail" | "unknown" {
  return certain.includes(code) ? "fail" : "unknown";
}

export function codeOf(error: unknown): string {
  return error instanceof DomainError ? error.code : "UNKNOWN";
}
