/**
 * Says on stderr why a job does not run yet, whenever the reason changes, and gives up on one that no provider will take. A
 * reason for waiting is not a fact, so it has to be asked for; while the job runs nothing is asked.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Capstan } from "@capstan/client";
import type { Reason } from "@capstan/proto/capstan/job/v1/job.ts";
import type { JobEvent, StepChange } from "@capstan/proto/capstan/job/v1/job_event.ts";
import { formatSpan } from "./durations.ts";
import { enumWord } from "./enumWord.ts";
import { isWaiting } from "./jobState.ts";
import { note } from "./output.ts";
import { needsOperator, placementAdvice } from "./runOutcome.ts";

const askEveryMs = 500;

interface WaitNotesOptions {
  readonly image?: string;
  readonly handler?: string;
  readonly provider?: string;
  /** How long a reason that only an operator can cure may last, in milliseconds. */
  readonly waitForProvider: number;
}

export interface WaitNotes {
  onMove(move: JobEvent): void;
  /** True if the job was cancelled here because no provider takes it. */
  wasGivenUp(): boolean;
  stop(): void;
}

/** Says that an attempt has failed and when the next one comes. */
function noteBackoff({ attempt, reason, message, dueTime }: StepChange): void {
  const why = message === "" ? enumWord(reason) : `${enumWord(reason)}: ${message}`;
  const due = dueTime === undefined ? "" : `; the next in ${formatSpan(dueTime.getTime() - Date.now())}`;
  note(`attempt ${attempt} failed (${why})${due}`);
}

export function startWaitNotes(
  capstan: Capstan,
  jobId: string,
  options: WaitNotesOptions,
  cancel: (why: string) => Promise<void>,
): WaitNotes {
  const stop = new AbortController();
  let mayWait = true;
  let isGivenUp = false;
  let lastNote = "";
  let hopelessSince: number | null = null;

  async function giveUpIfHopeless(reason: Reason): Promise<void> {
    if (!needsOperator(reason)) hopelessSince = null;
    else hopelessSince ??= performance.now();
    if (hopelessSince === null || performance.now() - hopelessSince < options.waitForProvider || isGivenUp) return;
    isGivenUp = true;
    note(`giving up after ${formatSpan(options.waitForProvider)}; ${placementAdvice(options)}`);
    await cancel("no provider takes it");
  }

  async function ask(): Promise<void> {
    const { job } = await capstan.jobs.getJob({ jobId });
    // A backoff is told when it begins; it passes by itself, as does waiting for one's turn.
    const step = job?.steps.find(({ state }) => state === "STEP_STATE_READY" || state === "STEP_STATE_BLOCKED");
    if (step === undefined || job?.state === "JOB_STATE_CANCELLING") return;
    const isWorthTelling = enumWord(step.reason) !== "" && step.reason !== "REASON_QUEUED";
    const text = `waiting: ${enumWord(step.reason)}${step.message === "" ? "" : ` ${step.message}`}`;
    if (isWorthTelling && text !== lastNote) note(text);
    lastNote = text;
    await giveUpIfHopeless(step.reason);
  }

  async function askAgainAndAgain(): Promise<void> {
    while (!stop.signal.aborted) {
      await sleep(askEveryMs, undefined, { signal: stop.signal }).catch(() => {});
      // Whoever follows the job says so if the platform is away for good; here the next try is soon.
      if (mayWait && !stop.signal.aborted) await ask().catch(() => {});
    }
  }

  void askAgainAndAgain();
  return {
    onMove(move) {
      for (const change of move.steps) {
        mayWait = isWaiting(change);
        if (change.state === "STEP_STATE_BACKOFF") noteBackoff(change);
      }
    },
    wasGivenUp: () => isGivenUp,
    stop: () => stop.abort(),
  };
}
