/**
 * Sagas as this replica saved them when it placed them, so that the end of a short execution need not read back what was written a
 * moment ago. Only a memory: the guard of the save finds out what has moved since, and then it is read.
 */
import type { Saga } from "./runJob.ts";

export interface RecentSagas {
  keep(sagas: readonly Saga[]): void;
  /** Those of the ids that are remembered, which then no longer are. Without their specs. */
  take(ids: Iterable<string>): Map<string, Saga>;
}

/** The oldest make room: a saga that is not remembered costs a read, no more. */
const maxKept = 5_000;

export function createRecentSagas(): RecentSagas {
  const recent = new Map<string, Saga>();
  return {
    keep(sagas) {
      // Without the spec, which may hold 256 KiB of input.
      for (const saga of sagas) recent.set(saga.id, { ...saga, spec: null });
      for (const id of recent.keys()) {
        if (recent.size <= maxKept) break;
        recent.delete(id);
      }
    },
    take(ids) {
      const taken = new Map<string, Saga>();
      for (const id of ids) {
        const saga = recent.get(id);
        if (saga === undefined) continue;
        taken.set(id, saga);
        recent.delete(id);
      }
      return taken;
    },
  };
}
