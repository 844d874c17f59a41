/**
 * Back-pressure: a queue that may be only so deep refuses what comes on top, and says when to come again. What it may hold is told by
 * the orchestrator; here it is kept in memory, so that jobs of all other queues cost no statement, and enforced under a lock on its row
 * in the transaction that submits.
 */
import { DomainError } from "@capstan/errors";
import type { Db, Pool } from "@capstan/postgres";
import {
  countPending,
  loadLimits,
  lockLimits,
  markBounded,
  type QueueLimit,
  type QueueName,
} from "./queueLimitStore.ts";

/** How long a replica may not know of a limit that was told to another. */
const maxAgeMs = 5_000;
/** Told to come again after this, where nobody knows how fast the queue is drained. */
const blindRetryMs = 5_000;
const shortestRetryMs = 100;
const longestRetryMs = 60_000;

/** Of two that come again at once, the one has to come later than the other. */
export function retryAfterMs(refusedBefore: number, drainPerSecond: number): number {
  if (drainPerSecond <= 0) return blindRetryMs;
  const ms = (1_000 * (refusedBefore + 1)) / drainPerSecond;
  return Math.round(Math.min(longestRetryMs, Math.max(shortestRetryMs, ms)));
}

function full({ queue, maxDepth, drainPerSecond }: QueueLimit, depth: number, refusedBefore: number): DomainError {
  return new DomainError({
    code: "RESOURCE_EXHAUSTED",
    reason: "QUEUE_FULL",
    message: `queue ${queue} holds ${depth} jobs that have not begun; its limit is ${maxDepth}`,
    metadata: { queue, depth: String(depth), limit: String(maxDepth) },
    retryAfterMs: retryAfterMs(refusedBefore, drainPerSecond),
  });
}

/** Which of those that come, in their order, have room; the refusals of the others stand in their places. */
export function admit(
  names: readonly QueueName[],
  limits: readonly QueueLimit[],
  depths: readonly (QueueName & { readonly depth: number })[],
): readonly (DomainError | null)[] {
  const limitOf = new Map(limits.map((limit) => [pathOf(limit), limit]));
  const depthOf = new Map(depths.map((each) => [pathOf(each), each.depth]));
  const refusedOf = new Map<string, number>();
  return names.map((name) => {
    const path = pathOf(name);
    const limit = limitOf.get(path);
    if (limit === undefined) return null;
    const depth = depthOf.get(path) ?? 0;
    if (depth < limit.maxDepth) {
      depthOf.set(path, depth + 1);
      return null;
    }
    const refused = refusedOf.get(path) ?? 0;
    refusedOf.set(path, refused + 1);
    return full(limit, depth, refused);
  });
}

function pathOf({ tenant, queue }: QueueName): string {
  return `${tenant}\0${queue}`;
}

export interface QueueLimits {
  /**
   * What those that come are refused with, in their order; null has room. Nobody else submits to their queues until the end of the
   * transaction.
   */
  check(db: Db, jobs: readonly QueueName[]): Promise<readonly (DomainError | null)[]>;
  /** Counts jobs that were written, if they are of such queues. */
  keep(db: Db, jobs: readonly (QueueName & { readonly id: string })[]): Promise<void>;
  /** They have changed. */
  expire(): void;
}

export function createQueueLimits(pool: Pool, onError: (error: unknown) => void): QueueLimits {
  let known = new Set<string>();
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | null = null;

  async function read(): Promise<void> {
    try {
      known = new Set((await loadLimits(pool)).map(pathOf));
      readAtMs = performance.now();
    } catch (error) {
      onError(error);
    } finally {
      reading = null;
    }
  }

  return {
    async check(db, jobs) {
      if (performance.now() - readAtMs > maxAgeMs) {
        reading ??= read();
        // Who comes later goes by what was known: it is read while their jobs are written.
        if (readAtMs === Number.NEGATIVE_INFINITY) await reading;
      }
      const bounded = new Map(jobs.filter((job) => known.has(pathOf(job))).map((job) => [pathOf(job), job]));
      if (bounded.size === 0) return jobs.map(() => null);
      const limits = await lockLimits(db, [...bounded.values()]);
      return admit(jobs, limits, await countPending(db, limits));
    },
    async keep(db, jobs) {
      const bounded = jobs.filter((job) => known.has(pathOf(job)));
      if (bounded.length > 0) {
        await markBounded(
          db,
          bounded.map(({ id }) => id),
        );
      }
    },
    expire() {
      readAtMs = Number.NEGATIVE_INFINITY;
    },
  };
}
