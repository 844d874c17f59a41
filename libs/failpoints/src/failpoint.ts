/**
 * One firing of a failpoint: what a test asked for, and how it is done to an operation. A failpoint stands around an operation, never
 * beside it, so that each mode means the same everywhere.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** The places that have one. The stage says which of the operations that pass there: a context, a statement, a method, a durable. */
export type PointName = "commit" | "write" | "publish" | "handle" | "ack" | "call" | "answer" | "backend";

/**
 * - `kill`, `doThenKill`: the process ends as by SIGKILL, before the operation or right after it.
 * - `throw`, `doThenThrow`: it fails as an outage does, and was not done, or was; the latter is told after the delay.
 * - `delay`: it is done later.
 * - `hang`: it is never done and never answers by itself; whatever guards it has to end it.
 * - `block`: it is done later, and until then this process does nothing else: its event loop stands still.
 */
export type FailpointMode = "kill" | "doThenKill" | "throw" | "doThenThrow" | "delay" | "hang" | "block";

/** What a test asks for, once. */
export interface Armed {
  readonly point: PointName;
  readonly stage: string;
  /** A word that the operation must carry, as `RESERVED` or `job.submitted`; any operation of the stage if absent. */
  readonly word?: string;
  readonly mode: FailpointMode;
  /** Of `delay`, `block` and `doThenThrow`. */
  readonly delayMs: number;
}

/** How a process passes its failpoints. */
export interface Failpoints {
  /** Does the operation, unless a test wants something else to happen here, this time. */
  around<T>(point: PointName, stage: string, operation: () => Promise<T>, guarded?: Guarded<T>): Promise<T>;
}

/** What differs from one operation to another. */
interface Guarded<T> {
  /** What it carries; asked for only when a test looks for a word. */
  readonly words?: () => Iterable<string>;
  /** How it hangs where its guard must see it hang; a promise that never settles when absent. */
  readonly hang?: () => Promise<T>;
}

/** A failure that nobody can tell from a connection that broke. */
class Interrupted extends Error {
  readonly code = "ECONNRESET";

  constructor({ point, stage }: Pick<Armed, "point" | "stage">) {
    super(`interrupted by the failpoint ${point} ${stage}`);
    this.name = "Interrupted";
  }
}

/** Does to the operation what was asked for. */
export async function fire<T>(armed: Armed, operation: () => Promise<T>, guarded: Guarded<T>): Promise<T> {
  switch (armed.mode) {
    case "kill":
      return kill();
    case "doThenKill":
      await operation();
      return kill();
    case "throw":
      throw new Interrupted(armed);
    case "doThenThrow":
      await operation();
      await sleep(armed.delayMs);
      throw new Interrupted(armed);
    case "delay":
      await sleep(armed.delayMs);
      return operation();
    case "block":
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, armed.delayMs);
      return operation();
    case "hang":
      return guarded.hang?.() ?? new Promise<never>(() => {});
  }
}

/** Nothing of this process runs after it: no handler, no flush, no last word. */
function kill(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return new Promise<never>(() => {});
}
