/** How `capstan run` ends: the exit code that stands for a job's end, and what to do when it cannot be placed. Pure. */
import { constants } from "node:os";
import type { Job, Reason } from "@capstan/proto/capstan/job/v1/job.ts";
import { enumWord } from "./enumWord.ts";

/** The codes of `run` that are not the workload's own; 126 and 127 mean what they mean in a shell. */
export const runExitCodes = {
  failed: 1,
  timedOut: 124,
  platform: 125,
  notAllowed: 126,
  notFound: 127,
  cancelled: 130,
} as const;

export const runExitCodesHelp = `
Exit codes: the workload's own, 128 + n if signal n ended it, and
  1    the handler failed
  2    bad usage; nothing was asked of the platform
  124  timed out
  125  trouble of the platform: it cannot be reached, has refused, or could not place or start the job
  126  the program may not be run
  127  there is no such program
  130  cancelled`;

export interface RunOutcome {
  readonly exitCode: number;
  /** What to say about it on stderr; null when the exit code says all. */
  readonly message: string | null;
}

/** `SIGKILL` is 128 + 9; null for a signal this system does not know. */
function exitCodeOfSignal(signal: string): number | null {
  const number = Object.entries(constants.signals).find(([name]) => name === signal)?.[1];
  return number === undefined ? null : 128 + number;
}

const exitCodeByReason: Partial<Record<Reason, number>> = {
  REASON_PERMISSION_DENIED: runExitCodes.notAllowed,
  REASON_COMMAND_NOT_FOUND: runExitCodes.notFound,
  REASON_HANDLER_FAILED: runExitCodes.failed,
  REASON_NON_RETRYABLE: runExitCodes.failed,
  REASON_OUT_OF_MEMORY: 128 + constants.signals.SIGKILL,
};

function failedExitCode({ reason, steps }: Job, signal: string): number {
  // An exit code of an earlier attempt must not stand for a last one that never exited.
  const own = reason === "REASON_EXIT_CODE" || reason === "REASON_OUT_OF_MEMORY" ? steps.at(-1)?.exitCode : undefined;
  return own || (exitCodeByReason[reason] ?? exitCodeOfSignal(signal) ?? runExitCodes.platform);
}

/** The outcome of a job that has ended. `signal` is what ended its last execution, "" if nothing did. */
export function runOutcome(job: Job, signal: string): RunOutcome {
  const why = [enumWord(job.reason), job.message].filter((part) => part !== "").join(": ");
  const message = `job ${job.id} ${enumWord(job.state)}${why === "" ? "" : ` (${why})`}`;
  switch (job.state) {
    case "JOB_STATE_SUCCEEDED":
      return { exitCode: 0, message: null };
    case "JOB_STATE_FAILED":
      return {
        exitCode: failedExitCode(job, signal),
        message: job.reason === "REASON_EXIT_CODE" ? null : message,
      };
    case "JOB_STATE_TIMED_OUT":
      return { exitCode: runExitCodes.timedOut, message };
    case "JOB_STATE_CANCELLED":
      return { exitCode: runExitCodes.cancelled, message };
    default:
      return { exitCode: runExitCodes.platform, message };
  }
}

/** Reasons that only an operator can cure, so that waiting long for them is of no use. */
export function needsOperator(reason: Reason): boolean {
  return reason === "REASON_NO_PROVIDER_MATCHES" || reason === "REASON_PROVIDER_UNHEALTHY";
}

/** What to do about a job that no provider takes. */
export function placementAdvice(wanted: {
  readonly image?: string;
  readonly provider?: string;
  readonly handler?: string;
}): string {
  if (wanted.provider !== undefined) return `look at it with: capstan provider get ${wanted.provider}`;
  if (wanted.handler !== undefined) {
    return `start a worker that has the handler ${wanted.handler}; those that are there: capstan worker list`;
  }
  return wanted.image === undefined
    ? "look at capstan provider list, or register one: capstan provider register NAME --kind process --slots 4"
    : "start a Docker engine, or register one that runs elsewhere: capstan provider register NAME --kind docker " +
        "--slots 4 --endpoint tcp://HOST:PORT";
}
