/**
 * The clock of the job context: steps whose time has come, jobs past their deadline, and errands between jobs. The tables are the truth; the timer in
 * memory only saves waiting for the next poll, and a restart loses nothing.
 */
import type { App, Loop } from "@capstan/service";
import { findDueJobs } from "./dueStore.ts";
import type { Job } from "./job.ts";
import { cancelOf, wakeOf } from "./moveJobs.ts";
import { type ErrandDeps, hasErrand, runErrandsOnce } from "./runErrands.ts";

const batchSize = 500;
/** Longer waits are found by polling: timers in memory are hints, and `setTimeout` overflows after 24.8 days. */
const longestHintMs = 60_000;

export interface Timers extends Loop {
  /** Looks at jobs that were just saved for times that the next poll would meet too late. */
  remind(jobs: readonly Job[]): void;
  /** Looks again after this many milliseconds. */
  remindIn(ms: number): void;
}

export function startTimers(app: App, deps: ErrandDeps): Timers {
  const loop = app.startLoop({ name: "fire-timers", intervalMs: 5_000, once: () => fireTimersOnce(deps) });
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
      if (jobs.some(hasErrand)) loop.wake();
      for (const { steps, pauseTime } of jobs) {
        if (pauseTime !== null) continue;
        // Only of the first that is due: what follows is saved again, and comes by here.
        let first = Number.POSITIVE_INFINITY;
        for (const { dueTime } of steps) if (dueTime !== null) first = Math.min(first, dueTime.getTime());
        remindIn(first - Date.now());
      }
    },
  };
}

/** One pass; true when there may be more. */
async function fireTimersOnce(deps: ErrandDeps): Promise<boolean> {
  const { pool, moveJobs } = deps;
  const { overdue, due, hasErrands } = await findDueJobs(pool, batchSize);
  if (overdue.length > 0) {
    await moveJobs(overdue, (job, now, flow) => {
      const isLive = job.state === "PENDING" || job.state === "RUNNING";
      const cause = { reason: "JOB_TIMEOUT", message: "the job took longer than its timeout" };
      return isLive ? cancelOf(job, cause, "", now, flow) : undefined;
    });
  }
  if (due.length > 0) await moveJobs(due, wakeOf);
  const isMoreOfErrands = hasErrands && (await runErrandsOnce(deps));
  return isMoreOfErrands || overdue.length === batchSize || due.length === batchSize;
}
