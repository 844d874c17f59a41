/**
 * The clock of the job context: steps whose time has come and jobs past their deadline. The tables are the truth; the timer in
 * memory only saves waiting for the next poll, and a restart loses nothing.
 */
import type { Pool } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import { findDueJobs } from "./dueStore.ts";
import type { Job } from "./job.ts";
import { cancelOf, type MoveJobs, wakeOf } from "./moveJobs.ts";

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
        // Only of the first that is due: what follows is saved again, and comes by here.
        let first = Number.POSITIVE_INFINITY;
        for (const { dueTime } of steps) if (dueTime !== null) first = Math.min(first, dueTime.getTime());
        remindIn(first - Date.now());
      }
    },
  };
}

/** One pass; true when there may be more. */
export async function fireTimersOnce(pool: Pool, moveJobs: MoveJobs): Promise<boolean> {
  const { overdue, due } = await findDueJobs(pool, batchSize);
  if (overdue.length > 0) {
    await moveJobs(overdue, (job, now, flow) => {
      const isLive = job.state === "PENDING" || job.state === "RUNNING";
      const cause = { reason: "JOB_TIMEOUT", message: "the job took longer than its timeout" };
      return isLive ? cancelOf(job, cause, "", now, flow) : undefined;
    });
  }
  if (due.length > 0) await moveJobs(due, wakeOf);
  return overdue.length === batchSize || due.length === batchSize;
}
