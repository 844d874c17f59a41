/**
 * A background loop: one pass at a time, again when woken, when there is more, or when the interval is over. A pass that fails
 * is tried again with a growing pause, during which waking does not help: who wakes often must not hammer what is down.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { faultOf } from "./fault.ts";
import type { Logger } from "./log.ts";

export interface LoopOptions {
  /** Its name in health and logs, unique in the service. */
  readonly name: string;
  /** The longest pause between two passes when nobody wakes it; jittered by a tenth. */
  readonly intervalMs: number;
  /** One pass; true when there is more to do at once. The signal aborts when the loop stops. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a pass that never knows of more returns nothing
  readonly once: (signal: AbortSignal) => Promise<boolean | void>;
}

export interface Loop {
  /** Starts the next pass now, or right after the one that runs. */
  wake(): void;
  /** Aborts the pass that runs and resolves when it has ended. */
  stop(): Promise<void>;
}

export interface LoopHealth {
  readonly name: string;
  /** Since a pass last succeeded; since the start if none has. */
  readonly lastPassMs: number;
  /** False when it failed, hung or was stopped for so long that its work is left undone. */
  readonly ok: boolean;
  /** What the last pass failed with; absent when it succeeded. */
  readonly error?: string;
}

export interface RunningLoop extends Loop {
  health(): LoopHealth;
}

const maxBackoffMs = 5_000;
/** Outages shorter than this are met by the backoff and are no reason to take a service out of its load balancer. */
const toleratedMs = 30_000;

/** The first pass is made once `begin` resolves, at the earliest in the next turn of the event loop. */
export function startLoop({ name, intervalMs, once }: LoopOptions, log: Logger, begin = nextTurn()): RunningLoop {
  const stopping = new AbortController();
  const { signal } = stopping;
  let isWoken = false;
  let endPause = () => {};
  let lastSuccessMs = performance.now();
  let failures = 0;
  let failure: unknown;

  async function run(): Promise<void> {
    await begin;
    while (!signal.aborted) {
      isWoken = false;
      const hasMore = await pass();
      if (failures > 0) await pause(backoffMs(failures), false);
      // Not straight on: a loop that always has more must not keep everything else from running.
      else if (hasMore || isWoken) await nextTurn();
      else await pause(intervalMs * (0.9 + 0.2 * Math.random()), true);
    }
  }

  async function pass(): Promise<boolean> {
    try {
      const hasMore = (await once(signal)) === true;
      if (failures > 0) log.info({ loop: name, failures }, "loop works again");
      failures = 0;
      lastSuccessMs = performance.now();
      return hasMore;
    } catch (error) {
      if (signal.aborted) return false;
      if (failures === 0) log.error({ loop: name, err: error }, "loop failed; it is tried again until it works");
      failures += 1;
      failure = error;
      return false;
    }
  }

  function pause(ms: number, canBeWoken: boolean): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        endPause = () => {};
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener("abort", end);
      if (signal.aborted) end();
      if (canBeWoken) endPause = end;
    });
  }

  const running = run();
  return {
    wake() {
      isWoken = true;
      endPause();
    },
    stop() {
      stopping.abort();
      return running;
    },
    health() {
      const lastPassMs = Math.round(performance.now() - lastSuccessMs);
      const ok = lastPassMs <= Math.max(toleratedMs, 3 * intervalMs);
      return { name, lastPassMs, ok, ...(failures > 0 ? { error: faultOf(failure) } : {}) };
    },
  };
}

/** 100 ms, doubling up to 5 s, of which a random half is left away. */
function backoffMs(failures: number): number {
  return Math.min(maxBackoffMs, 100 * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}
