/** Waits until a worker that takes nothing more has nothing left; with a grace it hurries, and at last does not wait. */
import type { Executions } from "./executions.ts";
import type { Outbox } from "./workerOutbox.ts";

/** For handlers that were told to stop. */
const abortedMs = 5_000;
/** For the platform to take what it is told last. */
const lastWordMs = 1_000;

export interface Drain {
  /** Called when something has ended or was acknowledged. */
  check(): void;
  /** Ends the waiting whatever there is. */
  giveUp(): void;
  readonly done: Promise<void>;
}

export function openDrain(executions: Executions, outbox: Outbox, graceMs: number | undefined): Drain {
  let isAbandoned = false;
  let finish = () => {};

  function check(): void {
    const hasReturned = executions.active === 0 || isAbandoned;
    if (hasReturned && outbox.unacknowledged.size === 0) finish();
  }

  function abandon(): void {
    isAbandoned = true;
    executions.loseAll("the worker has stopped before it ended");
    check();
  }

  function hurry(ms: number): NodeJS.Timeout[] {
    return [
      setTimeout(() => executions.stopAll("WORKER_STOPPED", "the worker is stopping"), ms),
      setTimeout(abandon, ms + abortedMs),
      setTimeout(() => finish(), ms + abortedMs + lastWordMs),
    ];
  }

  const timers = graceMs === undefined ? [] : hurry(graceMs);
  const done = new Promise<void>((resolve) => {
    finish = () => {
      for (const timer of timers) clearTimeout(timer);
      resolve();
    };
  });
  check();
  return { check, giveUp: () => finish(), done };
}
