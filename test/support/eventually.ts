/** Waiting in tests: for a fact, never for a time. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls `check` until it neither throws nor answers false, and gives back its answer; undefined counts as an answer, so that a
 * check made of `expect` needs no return. Fails with the last failure after `timeoutMs`.
 */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 30_000): Promise<T> {
  const giveUp = Date.now() + timeoutMs;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    const failure = await attempt(check);
    if ("value" in failure) return failure.value;
    if (Date.now() > giveUp) {
      const message = failure.error instanceof Error ? failure.error.message : String(failure.error);
      throw new Error(`not so within ${timeoutMs} ms; the last failure: ${message}`, { cause: failure.error });
    }
    await sleep(pauseMs);
  }
}

async function attempt<T>(check: () => T | Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    const value = await check();
    return value === false || value === null ? { error: `the check answered ${value}` } : { value };
  } catch (error) {
    return { error };
  }
}
