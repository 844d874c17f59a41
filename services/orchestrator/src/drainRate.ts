/** How fast queues are drained: how many of each were placed here in each of the last 60 seconds. Kept in memory, and only an estimate. */
import type { NewLane } from "./nextTurns.ts";

const seconds = 60;
/** Kept at most; of more, those are forgotten of which nothing was placed for longest. */
const maxQueues = 1_000;

interface Counts {
  readonly bySecond: number[];
  lastSecond: number;
}

export interface DrainRates {
  note(placed: readonly NewLane[]): void;
  /** Placed each second, over the last minute or since this replica knows of any. */
  perSecond(tenant: string, queue: string): number;
}

/** `now` in seconds that only grow. */
export function createDrainRates(now = () => Math.floor(performance.now() / 1_000)): DrainRates {
  const queues = new Map<string, Counts>();
  const begin = now();

  function at(counts: Counts, second: number): Counts {
    for (let passed = Math.max(counts.lastSecond, second - seconds); passed < second; passed += 1) {
      counts.bySecond[(passed + 1) % seconds] = 0;
    }
    counts.lastSecond = second;
    return counts;
  }

  return {
    note(placed) {
      const second = now();
      for (const { tenant, queue } of placed) {
        const path = `${tenant}\0${queue}`;
        const counts = at(queues.get(path) ?? { bySecond: Array(seconds).fill(0), lastSecond: second }, second);
        counts.bySecond[second % seconds] = (counts.bySecond[second % seconds] ?? 0) + 1;
        if (!queues.has(path)) queues.set(path, counts);
      }
      if (queues.size <= maxQueues) return;
      for (const [path, { lastSecond }] of queues) if (lastSecond < second - seconds) queues.delete(path);
    },
    perSecond(tenant, queue) {
      const counts = queues.get(`${tenant}\0${queue}`);
      if (counts === undefined) return 0;
      const second = now();
      const sum = at(counts, second).bySecond.reduce((a, b) => a + b, 0);
      return sum / Math.max(1, Math.min(seconds, second - begin));
    },
  };
}
