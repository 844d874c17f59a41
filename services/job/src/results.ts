/**
 * What steps have given back, for those who decide by it. Results stay in the store until somebody asks: what is not here is noted, and
 * whatever was decided meanwhile is worth nothing. The shell reads what is noted and has it decided again.
 */
import { type Step, unread } from "./job.ts";

/** Results that are wanted together, and only if they are not longer than this in all. */
export interface WantedResults {
  /** Unique among the wants of a job. */
  readonly key: string;
  readonly steps: readonly string[];
  /** Null: whatever their length. */
  readonly maxBytes: number | null;
}

export interface Results {
  /** Undefined if there is none, or none yet. */
  of(step: Step): unknown;
  /** In the order of the steps; null if they are surely longer than this as JSON. */
  list(key: string, steps: readonly Step[], maxBytes: number): readonly unknown[] | null;
}

export interface ReadableResults extends Results {
  /** What was asked for and is not here; empty if what was decided holds. */
  takeWanted(): readonly WantedResults[];
  /** Answers a want; null if it is too long. */
  add(want: WantedResults, results: ReadonlyMap<string, unknown> | null): void;
}

export function createResults(): ReadableResults {
  const known = new Map<string, unknown>();
  const tooLong = new Set<string>();
  let wanted: WantedResults[] = [];
  const isMissing = ({ name, result }: Step) => result === unread && !known.has(name);
  const knownOf = ({ name, result }: Step) => (result === unread ? known.get(name) : result);
  return {
    of(step) {
      if (isMissing(step)) wanted.push({ key: step.name, steps: [step.name], maxBytes: null });
      return knownOf(step);
    },
    list(key, steps, maxBytes) {
      if (tooLong.has(key)) return null;
      const missing = steps.filter(isMissing).map(({ name }) => name);
      if (missing.length > 0) wanted.push({ key, steps: missing, maxBytes });
      return steps.map(knownOf);
    },
    takeWanted() {
      const taken = [...new Map(wanted.map((want) => [want.key, want])).values()];
      wanted = [];
      return taken;
    },
    add({ key, steps }, results) {
      if (results === null) tooLong.add(key);
      else for (const name of steps) known.set(name, results.get(name));
    },
  };
}
