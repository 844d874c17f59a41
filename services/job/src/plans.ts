/**
 * The plans of jobs that move at present, so that a spec of a thousand steps is parsed once and not for each report. They hold for ever,
 * because a spec never changes; those that were not used for longest give way.
 */
import type { Plan } from "./plan.ts";

/** A plan with the items of the steps that were reached. */
export interface KnownPlan {
  readonly plan: Plan;
  items: ReadonlyMap<string, readonly unknown[]>;
}

export interface Plans {
  /** Undefined if it is not known here. */
  get(jobId: string): KnownPlan | undefined;
  /** Keeps a plan; `bytes` is the length of its spec. */
  add(jobId: string, plan: Plan, bytes: number): KnownPlan;
  /** The job has ended. */
  forget(jobId: string): void;
}

/** Bytes of their specs; a plan takes about ten times as much. */
const maxBytes = 16 * 1024 * 1024;

export function createPlans(): Plans {
  const known = new Map<string, { readonly entry: KnownPlan; readonly bytes: number }>();
  let total = 0;
  function forget(jobId: string): void {
    total -= known.get(jobId)?.bytes ?? 0;
    known.delete(jobId);
  }
  return {
    get(jobId) {
      const found = known.get(jobId);
      if (found === undefined) return undefined;
      // A map keeps the order in which its keys were set: the oldest come first.
      known.delete(jobId);
      known.set(jobId, found);
      return found.entry;
    },
    add(jobId, plan, bytes) {
      forget(jobId);
      const entry: KnownPlan = { plan, items: new Map() };
      known.set(jobId, { entry, bytes });
      total += bytes;
      for (const oldest of known.keys()) {
        if (total <= maxBytes || oldest === jobId) break;
        forget(oldest);
      }
      return entry;
    },
    forget,
  };
}
