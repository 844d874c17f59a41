/** Waiting for what a service cannot start without, such as a database that is still starting. */
import { setTimeout as delay } from "node:timers/promises";
import { mask } from "@capstan/grpc";
import type { Check } from "./check.ts";
import type { Logger } from "./log.ts";

const maxPauseMs = 2_000;

/**
 * Does `work` until what it needs is there; meanwhile a failing check under the name of the dependency shows what is missing, in
 * place of the one that may be there already.
 * Throws any failure that waiting cannot cure, and stops waiting when `signal` aborts.
 */
export async function untilReady<T>(
  dependency: string,
  work: () => Promise<T>,
  { log, signal, checks }: { log: Logger; signal: AbortSignal; checks: Map<string, Check> },
): Promise<T> {
  const before = checks.get(dependency);
  let failure: unknown;
  // Some work waits by itself and never fails.
  if (before === undefined) checks.set(dependency, () => Promise.reject(failure ?? new NotThereYet()));
  for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, maxPauseMs)) {
    signal.throwIfAborted();
    try {
      const result = await work();
      if (failure !== undefined) log.info({ dependency }, "dependency is there");
      if (before === undefined) checks.delete(dependency);
      else checks.set(dependency, before);
      return result;
    } catch (error) {
      if (!isAbsence(error)) throw error;
      if (failure === undefined) log.warn({ dependency, err: error }, "waiting for a dependency");
      failure = error;
    }
    checks.set(dependency, () => Promise.reject(failure));
    await delay(pauseMs, undefined, { signal });
  }
}

class NotThereYet extends Error {
  readonly code = "NOT_THERE_YET";
}

/** Nobody answers, or who answers is starting, stopping or full. */
function isAbsence(error: unknown): boolean {
  return ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"].includes(mask(error).code);
}
