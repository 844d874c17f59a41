/**
 * The settings of queues in memory, so that what comes to a queue without limits needs no statement. Read again when a queue was changed
 * here, when the fact of a change elsewhere arrives, and every few seconds in case one was missed: until then a replica may go on by what
 * it knew. Limits themselves are enforced on the locked row, as it is then.
 */
import type { Pool } from "@capstan/postgres";
import { isLimited, type Queue, unsetQueue } from "./queue.ts";
import { countFromNowOn, loadQueues } from "./queueStore.ts";
import { insertTimersOfQueues } from "./waitTimerStore.ts";

/** The longest time for which a change elsewhere can go unnoticed. */
const maxAgeMs = 5_000;

export interface KnownQueues {
  /** As it was last read; a name that nobody has set is answered with what it works with. */
  of(tenant: string, name: string): Queue;
  all(): readonly Queue[];
  /** Reads them again if that is due; true when something has changed. */
  refresh(): Promise<boolean>;
  /** They have changed: they are read again at the next `refresh`. */
  expire(): void;
}

export function createKnownQueues(pool: Pool): KnownQueues {
  let queues = new Map<string, Queue>();
  let readAtMs = Number.NEGATIVE_INFINITY;
  let changes = 0;
  const pathOf = (tenant: string, name: string) => `${tenant}\0${name}`;
  return {
    of: (tenant, name) => queues.get(pathOf(tenant, name)) ?? unsetQueue(tenant, name),
    all: () => [...queues.values()],
    expire() {
      changes += 1;
      readAtMs = Number.NEGATIVE_INFINITY;
    },
    async refresh() {
      const now = performance.now();
      if (now - readAtMs < maxAgeMs) return false;
      const changesBefore = changes;
      const read = (await loadQueues(pool)).filter(({ version }) => version > 0);
      const before = queues;
      const changed = read.filter(({ tenant, name, id, version }) => {
        const known = before.get(pathOf(tenant, name));
        return known?.version !== version || known.id !== id;
      });
      const newlyLimited = changed.filter((queue) => {
        const known = before.get(pathOf(queue.tenant, queue.name));
        return isLimited(queue) && (known === undefined || !isLimited(known));
      });
      if (newlyLimited.length > 0) {
        await countFromNowOn(
          pool,
          newlyLimited.map(({ tenant, name }) => ({ tenant, queue: name })),
        );
      }
      const watched = changed.filter(({ settings }) => settings.onWait.length > 0);
      if (watched.length > 0) {
        await insertTimersOfQueues(
          pool,
          watched.map(({ tenant, name, settings: { onWait } }) => ({
            ...{ tenant, queue: name, afterMs: Math.min(...onWait.map(({ afterMs }) => afterMs)) },
          })),
        );
      }
      queues = new Map(read.map((queue) => [pathOf(queue.tenant, queue.name), queue]));
      // What was changed while they were read may have come too late for this reading.
      if (changes === changesBefore) readAtMs = now;
      return changed.length > 0 || queues.size !== before.size;
    },
  };
}
