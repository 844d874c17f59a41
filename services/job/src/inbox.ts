/**
 * The signals of a job that no step has taken yet, while one decision is made. What is taken is noted; the shell saves it together with
 * the moves that followed.
 */

export interface KeptSignal {
  /** Grows with each signal. */
  readonly number: string;
  readonly name: string;
  readonly payload: unknown;
}

/** A signal with the step that has taken it. */
export interface TakenSignal {
  readonly number: string;
  readonly step: string;
}

export interface Inbox {
  /** Gives the oldest of this name to a step; null if there is none. */
  take(name: string, step: string): { readonly payload: unknown } | null;
  taken(): readonly TakenSignal[];
  /** How many are left. */
  size(): number;
}

export function openInbox(kept: readonly KeptSignal[]): Inbox {
  let left = kept;
  const taken: TakenSignal[] = [];
  return {
    take(name, step) {
      const found = left.find((signal) => signal.name === name);
      if (found === undefined) return null;
      left = left.filter((signal) => signal !== found);
      taken.push({ number: found.number, step });
      return { payload: found.payload };
    },
    taken: () => taken,
    size: () => left.length,
  };
}
