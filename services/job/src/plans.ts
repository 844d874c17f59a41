/**
 * What this process remembers of the workflows that move at present, so that a job of a thousand steps is not read and parsed again for
 * each report. A plan holds for ever, because a spec never changes. The steps hold as long as the job in the store has the sequence
 * they had; whoever reads them asks. What was not used for longest gives way.
 */
import { isJobTerminal, type Job, type Step, unread } from "./job.ts";
import type { Plan } from "./plan.ts";

/** A plan with the items of the steps that were reached. */
export interface KnownPlan {
  readonly plan: Plan;
  readonly items: ReadonlyMap<string, readonly unknown[]>;
}

/** The steps of a job as they were with a fact of it. */
export interface KnownSteps {
  readonly sequence: number;
  readonly steps: readonly Step[];
}

export interface Plans {
  /** Undefined if it is not known here. */
  get(jobId: string): KnownPlan | undefined;
  /** Keeps a plan; `bytes` is the length of its spec. */
  add(jobId: string, plan: Plan, bytes: number): KnownPlan;
  /** Keeps the items of steps that were reached beside the plan. */
  keepItems(jobId: string, items: KnownPlan["items"]): void;
  /** Undefined if they are not known here. */
  stepsOf(jobId: string): KnownSteps | undefined;
  /** Remembers jobs as they are after COMMIT, and forgets those that have ended. */
  note(jobs: readonly Job[]): void;
}

/** Bytes of specs, and so many for a step; what is kept takes up to ten times as much. */
const maxBytes = 32 * 1024 * 1024;
const bytesOfStep = 100;

interface Known {
  readonly entry: KnownPlan;
  /** Of the spec and of the items. */
  readonly bytes: number;
  readonly known: KnownSteps | undefined;
}

export function createPlans(): Plans {
  const entries = new Map<string, Known>();
  let total = 0;

  function forget(jobId: string): void {
    const found = entries.get(jobId);
    if (found !== undefined) total -= bytesOf(found);
    entries.delete(jobId);
  }

  /** A map keeps the order in which its keys were set: the oldest come first. */
  function put(jobId: string, entry: Known): void {
    forget(jobId);
    entries.set(jobId, entry);
    total += bytesOf(entry);
    for (const oldest of entries.keys()) {
      if (total <= maxBytes || oldest === jobId) break;
      forget(oldest);
    }
  }

  return {
    get(jobId) {
      const found = entries.get(jobId);
      if (found !== undefined) put(jobId, found);
      return found?.entry;
    },
    add(jobId, plan, bytes) {
      const entry: KnownPlan = { plan, items: new Map() };
      put(jobId, { entry, bytes, known: undefined });
      return entry;
    },
    keepItems(jobId, items) {
      const found = entries.get(jobId);
      if (found === undefined) return;
      const fresh = [...items].filter(([name]) => !found.entry.items.has(name));
      if (fresh.length === 0) return;
      const more = fresh.reduce((sum, [, values]) => sum + JSON.stringify(values).length, 0);
      put(jobId, { ...found, entry: { plan: found.entry.plan, items }, bytes: found.bytes + more });
    },
    stepsOf: (jobId) => entries.get(jobId)?.known,
    note(jobs) {
      for (const { id, isWorkflow, state, sequence, steps } of jobs) {
        const found = isWorkflow ? entries.get(id) : undefined;
        if (found === undefined) continue;
        if (isJobTerminal(state)) forget(id);
        // A commit that is noted late must not take the place of what came after it.
        else if (sequence >= (found.known?.sequence ?? 0)) {
          put(id, { ...found, known: { sequence, steps: steps.map(withoutResult) } });
        }
      }
    },
  };
}

function bytesOf({ bytes, known }: Known): number {
  return bytes + bytesOfStep * (known?.steps.length ?? 0);
}

function withoutResult(step: Step): Step {
  return step.result === undefined || step.result === unread ? step : { ...step, result: unread };
}
