/**
 * What steps have given back, for those who decide by it. Results stay in the store until somebody asks: what is not here is noted, and
 * whatever was decided meanwhile is worth nothing. The shell reads what is noted and has it decided again.
 */
import { ExpressionError } from "@capstan/expressions";
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
  /** Undefined if there is none, or none yet. Throws an ExpressionError if too much is read at once. */
  of(step: Step): unknown;
  /** No more steps should ask: what is here, or was asked for, is much already. */
  isFull(): boolean;
  /** In the order of the steps; null if they are surely longer than this as JSON. */
  list(key: string, steps: readonly Step[], maxBytes: number): readonly unknown[] | null;
}

interface ReadableResults extends Results {
  /** What was asked for and is not here; empty if what was decided holds. What is asked from now on is for another try. */
  takeWanted(): readonly WantedResults[];
  /** Answers a want; null if it is too long. */
  add(want: WantedResults, results: ReadonlyMap<string, StoredResult> | null): void;
}

/** A result as it was read, and how long it is as JSON. */
export interface StoredResult {
  readonly result: unknown;
  readonly bytes: number;
}

/** Results that one step may read: the shell keeps them all in memory until it is decided. */
export const maxReadBytes = 64 * 1024 * 1024;
const manyWanted = 16;
const manyBytes = 16 * 1024 * 1024;

export function createResults(): ReadableResults {
  const known = new Map<string, StoredResult>();
  const tooLong = new Set<string>();
  const used = new Set<string>();
  let usedBytes = 0;
  let wanted: WantedResults[] = [];
  const isMissing = ({ name, result }: Step) => result === unread && !known.has(name);
  const knownOf = ({ name, result }: Step) => (result === unread ? known.get(name)?.result : result);

  function use(name: string): void {
    if (used.has(name)) return;
    used.add(name);
    usedBytes += known.get(name)?.bytes ?? 0;
  }

  return {
    of(step) {
      const { name } = step;
      if (tooLong.has(name)) {
        throw new ExpressionError(`reads results that are longer than ${maxReadBytes} bytes in all`);
      }
      if (isMissing(step)) wanted.push({ key: name, steps: [name], maxBytes: null });
      else use(name);
      return knownOf(step);
    },
    isFull: () => wanted.length >= manyWanted || usedBytes > manyBytes,
    list(key, steps, maxBytes) {
      if (tooLong.has(key)) return null;
      const missing = steps.filter(isMissing).map(({ name }) => name);
      if (missing.length > 0) wanted.push({ key, steps: missing, maxBytes });
      return steps.map(knownOf);
    },
    takeWanted() {
      const taken = [...new Map(wanted.map((want) => [want.key, want])).values()];
      wanted = [];
      used.clear();
      usedBytes = 0;
      return taken;
    },
    add({ key, steps }, results) {
      if (results === null) return void tooLong.add(key);
      for (const name of steps) known.set(name, results.get(name) ?? { result: undefined, bytes: 0 });
    },
  };
}
