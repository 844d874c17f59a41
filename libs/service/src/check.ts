/** Readiness checks: each asks one dependency, and none may hang the answer. */
import { faultOf } from "./fault.ts";

/** Resolves when the dependency answers. */
export type Check = () => Promise<void>;

export interface DependencyHealth {
  readonly name: string;
  readonly ok: boolean;
  readonly durationMs: number;
  readonly error?: string;
}

/** Asks all at once; one that has not answered within `timeoutMs` is down. */
export function checkAll(checks: ReadonlyMap<string, Check>, timeoutMs = 2_000): Promise<DependencyHealth[]> {
  return Promise.all([...checks].map(([name, check]) => checkOne(name, check, timeoutMs)));
}

async function checkOne(name: string, check: Check, timeoutMs: number): Promise<DependencyHealth> {
  const startMs = performance.now();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(Object.assign(new Error(), { code: "TIMEOUT" })), timeoutMs);
  const since = () => Math.round(performance.now() - startMs);
  try {
    await Promise.race([check(), late.promise]);
    return { name, ok: true, durationMs: since() };
  } catch (error) {
    return { name, ok: false, durationMs: since(), error: faultOf(error) };
  } finally {
    clearTimeout(timer);
  }
}
