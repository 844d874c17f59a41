/**
 * Which facts were given out already, by the number of the last one of each aggregate. A stream that was lost is filled again with
 * facts of days, of which those who listen have had most. Memory is bounded; what is older than it counts as given out. Pure.
 */

export interface Recall {
  /** Whether a fact was given out before; if not, it is from now on. `timeOf` gives milliseconds since 1970, and is rarely asked. */
  isRepeated(aggregateId: string, sequence: number, timeOf: () => number): boolean;
  /** From now on facts may come that are older than what is remembered. */
  noteRebuilt(): void;
}

const maxRemembered = 50_000;
/** A fact may be published a little after a younger one, and clocks may differ. */
export const slackMs = 10_000;

/** `startTime`: whatever is older was before anybody listened. */
export function createRecall(startTime: number, remembered = maxRemembered): Recall {
  // Two generations: the older one is forgotten whole.
  let older = new Map<string, number>();
  let newer = new Map<string, number>();
  let olderTime = startTime - slackMs;
  let newerTime = olderTime;
  let isRebuilt = false;

  return {
    isRepeated(aggregateId, sequence, timeOf) {
      const last = newer.get(aggregateId) ?? older.get(aggregateId);
      if (last !== undefined && sequence <= last) return true;
      if (last === undefined && isRebuilt && timeOf() < olderTime) return true;
      newer.set(aggregateId, sequence);
      if (newer.size >= remembered) {
        older = newer;
        newer = new Map();
        olderTime = newerTime;
        newerTime = timeOf() - slackMs;
      }
      return false;
    },
    noteRebuilt() {
      isRebuilt = true;
    },
  };
}
