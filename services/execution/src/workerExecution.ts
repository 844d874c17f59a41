/** One execution as its worker tells of it: what comes over the connection becomes a {@link Running}, its output and its end. */
import { BackendLost, BackendUnavailable, type HandlerEnd, type OutputSink, type Running } from "./backends/backend.ts";
import type { Stop } from "./execution.ts";

export interface WorkerExecution {
  readonly id: string;
  /** Since when it is followed; monotonic. */
  readonly sinceMs: number;
  /** Settles when the worker says that it runs or has ended; rejects as {@link Backend.start} does. */
  readonly started: Promise<Running<HandlerEnd>>;
  /** Whose output it is from now on; null while nobody drives it. */
  sink: OutputSink | null;
  /** Its worker has said how it ended, and keeps that until it is acknowledged. */
  hasSaidEnd: boolean;
  /** The handler was called at this time, by the worker's clock. */
  start(time: Date): void;
  finish(end: HandlerEnd, startTime: Date | null): void;
  /** Its worker is gone, or has given it up. */
  lose(message: string): void;
  /** Its worker does not have it: it never got it, or forgot it. */
  miss(): void;
  /** Asks again what was asked on a connection that has ended. */
  askAgain(): void;
}

/** Follows one execution; `askToStop` sends the worker the wish to end it. */
export function followExecution(
  id: string,
  workerId: string,
  askToStop: (graceMs: number, why: Stop | undefined) => void,
  loseAfterMs: number,
): WorkerExecution {
  const started = Promise.withResolvers<Running<HandlerEnd>>();
  const exited = Promise.withResolvers<HandlerEnd>();
  // Whoever waits for them is told; nobody has to.
  started.promise.catch(() => {});
  exited.promise.catch(() => {});
  let hasStarted = false;
  let askAgain = () => {};

  function start(time: Date): void {
    if (hasStarted) return;
    hasStarted = true;
    started.resolve({ ref: `worker:${workerId}`, startTime: time, exited: exited.promise, stop });
  }

  async function stop(graceMs: number, why?: Stop): Promise<void> {
    askAgain = () => askToStop(graceMs, why);
    askAgain();
    // A worker gives up what does not end in time and says so; one that does neither is not waited for any longer.
    const late = setTimeout(() => lose("its worker did not stop it"), graceMs + loseAfterMs);
    await exited.promise.catch(() => {});
    clearTimeout(late);
  }

  function lose(message: string): void {
    // Whether it began is not known, so nobody may say "try again".
    start(new Date());
    exited.reject(new BackendLost(message));
  }

  return {
    id,
    sinceMs: performance.now(),
    started: started.promise,
    sink: null,
    hasSaidEnd: false,
    start,
    finish(end, startTime) {
      start(startTime ?? end.endTime);
      exited.resolve(end);
    },
    lose,
    askAgain: () => askAgain(),
    miss() {
      if (hasStarted) return lose("its worker no longer knows it");
      hasStarted = true;
      started.reject(new BackendUnavailable("it did not reach its worker"));
    },
  };
}
