/**
 * The clock of the job context: steps whose time has come and jobs past their deadline. The tables are the truth; the timer in
 * memory only saves waiting for the next poll, and a restart loses nothing.
 */
import type { Pool } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import { cancel, type Job, wake } from "./job.ts";
import { findDueJobs } from "./jobStore.ts";
import { type MoveJobs, oneChange } from "./moveJobs.ts";

const batchSize = 500;
/** Longer waits are found by polling: timers in memory are hints, and `setTimeout` overflows after 24.8 days. */
const longestHintMs = 60_000;

export interface Timers extends Loop {
  /** Looks at jobs that were just saved for times that the next poll would meet too late. */
  remind(jobs: readonly Job[]): void;
  /** Looks again after this many milliseconds. */
  remindIn(ms: number): void;
}

export function startTimers(app: App, pool: Pool, moveJobs: MoveJobs): Timers {
  const loop = app.startLoop({ name: "fire-timers", intervalMs: 5_000, once: () => fireTimersOnce(pool, moveJobs) });
  const hints = new Set<NodeJS.Timeout>();
  app.onStop(() => hints.forEach(clearTimeout));

  function remindIn(ms: number): void {
    if (ms > longestHintMs) return;
    const hint = setTimeout(() => {
      hints.delete(hint);
      loop.wake();
    }, Math.max(0, ms) + 1);
    hints.add(hint);
  }

  return {
    ...loop,
    remindIn,
    remind(jobs) {
      for (const { steps } of jobs) {
        for (const { dueTime } of steps) if (dueTime !== null) remindIn(dueTime.getTime() - Date.now());
      }
    },
  };
}

/** One pass; true when there may be more. */
export async function fireTimersOnce(pool: Pool, moveJobs: MoveJobs): Promise<boolean> {
  const { overdue, due } = await findDueJobs(pool, batchSize);
  if (overdue.length > 0) {
    await moveJobs(overdue, (job) => {
      const isLive = job.state === "PENDING" || job.state === "RUNNING";
      const cause = { reason: "JOB_TIMEOUT", message: "the job took longer than its timeout" };
      return isLive ? oneChange(cancel(job, cause), "") : undefined;
    });
  }
  if (due.length > 0) await moveJobs(due, (job, now) => oneChange(wake(job, now), ""));
  return overdue.length === batchSize || due.length === batchSize;
}
