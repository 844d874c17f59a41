/**
 * The relay publishes what `appendFacts` listed, and takes off the list what was acknowledged. One relay at a time works on a
 * schema; others wait. A crash between publishing and taking off publishes again, with the same id.
 *
 * What this process has just committed it publishes from memory. The list itself is read when that is not all: at the start, after a
 * failure, when there is too much, when another process may have older facts of the same aggregate, and now and then. What is
 * committed while it is read may go out twice; JetStream drops the second.
 */
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import { type FactRow, factColumns, relayLock, type StoredFact, toStoredFact } from "./facts.ts";
import { type ListedFacts, readFreshFacts } from "./freshFacts.ts";
import { startGauge } from "./gauge.ts";
import type { Log } from "./log.ts";
import { awaitWithCommit, inTransaction } from "./transaction.ts";

/** What the relay needs of the process it runs in: loops and checks that show in its health. `App` of @capstan/service is one. */
export interface Loops {
  addCheck(name: string, check: () => Promise<void>): void;
  startLoop(options: { name: string; intervalMs: number; once: (signal: AbortSignal) => Promise<boolean> }): {
    wake(): void;
    stop(): Promise<void>;
  };
}

interface RelayOptions {
  readonly pool: Pool;
  /** The schema. */
  readonly context: string;
  /**
   * Answers for each fact whether it was acknowledged. The facts of one aggregate come in their order and must be published in it,
   * none after one that failed; those of different aggregates need no order.
   */
  readonly publish: (facts: readonly StoredFact[]) => Promise<readonly boolean[]>;
  readonly log: Log;
  readonly app: Loops;
}

export interface Relay {
  /**
   * Call it after something was appended outside of a transaction of this pool; without it that waits for the next poll, up to 11 s.
   * What a transaction appends, and what is listed again, is published without being asked for.
   */
  wake(): void;
  stop(): Promise<void>;
}

const batchSize = 500;
/** Facts and bytes of them kept in memory at most; beyond, they are read from the list. */
const maxFresh = { facts: 5_000, bytes: 16 * 1024 * 1024 };
const pollMs = 10_000;
const busyRetryMs = 20;
const failureRetryMs = { first: 100, longest: 2_000 };
const failuresToReport = 8; // 100 ms and so on until two seconds: the first ten seconds
/** Nothing may be stored for as long as this before the service is not ready: a broker that restarts is back sooner. */
const toleratedMs = 10_000;

/** Starts the loop that publishes the facts of a schema until it is stopped. */
export function startRelay({ pool, context, publish, log, app }: RelayOptions): Relay {
  let mustList = true; // whatever an earlier process left is due at once
  let fresh: ListedFacts[] = [];
  let held = { facts: 0, bytes: 0 };
  let failures = 0;
  /** Since when the broker has stored nothing of what was offered, though it may answer; null while all is well. */
  let refusedSinceMs: number | null = null;
  let timer: NodeJS.Timeout | undefined;
  app.addCheck("stream", async () => {
    if (refusedSinceMs !== null && performance.now() - refusedSinceMs >= toleratedMs) throw new FactsNotStored();
  });
  const loop = app.startLoop({ name: `${context}-relay`, intervalMs: pollMs, once });
  startGauge({
    pool,
    name: "capstan.outbox.age_seconds",
    description: "Age of the oldest fact that is not published yet; 0 when all are",
    read: async (db) => [{ value: await outboxAgeSeconds(db), attributes: { context } }],
  });

  readFreshFacts(pool, {
    onListedAgain: wake,
    onCommit(listed) {
      if (mustList) return; // they will be read with the list, which is being read or is due
      fresh.push(...listed);
      for (const each of listed) held = plus(held, sizeOf(each));
      if (held.facts > maxFresh.facts || held.bytes > maxFresh.bytes) list();
      loop.wake();
    },
  });

  /** Nothing that is in memory is older than what is listed, and all of it is. */
  function list(): void {
    mustList = true;
    fresh = [];
    held = { facts: 0, bytes: 0 };
  }

  function wake(): void {
    list();
    loop.wake();
  }

  function wakeIn(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(wake, ms);
  }

  function retryLater(): void {
    wakeIn(Math.min(failureRetryMs.longest, failureRetryMs.first * 2 ** failures));
    failures += 1;
    if (failures === failuresToReport) log.warn({ context }, "facts have been waiting for ten seconds to be published");
  }

  async function offer(facts: readonly StoredFact[]): Promise<readonly boolean[]> {
    const stored = await publish(facts);
    if (stored.includes(true)) refusedSinceMs = null;
    else if (facts.length > 0) refusedSinceMs ??= performance.now();
    return stored;
  }

  async function once(): Promise<boolean> {
    if (fresh.length > 0) return await relayFresh();
    // An idle relay costs one small statement a poll; it opens a transaction only when there is something.
    if (!mustList && (await isEmpty(pool))) return false;
    list();
    mustList = false; // what is committed from now on is handed to us
    const { state, count } = await relayOnce(pool, offer);
    return settle(state, count >= batchSize);
  }

  async function relayFresh(): Promise<boolean> {
    const batch = takeBatch();
    try {
      const { state, isAll } = await publishFresh(pool, offer, batch);
      return settle(state, !isAll);
    } catch (error) {
      list(); // the batch is no longer in memory
      throw error;
    }
  }

  /**
   * Whole rows, until they have enough facts. In the order of the list, in which those of one aggregate have theirs: Postgres lets the
   * next transaction go on before it answers a COMMIT, so that on a busy machine the answer to the younger may come first.
   */
  function takeBatch(): readonly ListedFacts[] {
    let facts = 0;
    fresh.sort((a, b) => a.position - b.position);
    const end = fresh.findIndex((row) => {
      facts += row.facts.length;
      return facts >= batchSize;
    });
    const batch = fresh.splice(0, end < 0 ? fresh.length : end + 1);
    for (const each of batch) held = minus(held, sizeOf(each));
    return batch;
  }

  /** True when there is more to do at once. */
  function settle(state: "busy" | "refused" | "done", isMoreListed: boolean): boolean {
    if (state === "busy") wakeIn(busyRetryMs);
    if (state === "refused") retryLater();
    else failures = 0;
    if (state === "done") refusedSinceMs = null; // another process may have published what this one could not
    if (state !== "done" || isMoreListed) list();
    return state === "done" && (mustList || fresh.length > 0);
  }

  return {
    wake,
    stop: () => {
      clearTimeout(timer);
      return loop.stop();
    },
  };
}

class FactsNotStored extends Error {
  readonly code = "FACTS_NOT_STORED";
}

interface Size {
  readonly facts: number;
  readonly bytes: number;
}

function sizeOf({ facts }: ListedFacts): Size {
  return { facts: facts.length, bytes: facts.reduce((sum, { json }) => sum + json.length, 0) };
}

const plus = (a: Size, b: Size): Size => ({ facts: a.facts + b.facts, bytes: a.bytes + b.bytes });
const minus = (a: Size, b: Size): Size => ({ facts: a.facts - b.facts, bytes: a.bytes - b.bytes });

async function outboxAgeSeconds(db: Db): Promise<number> {
  const { rows } = await db.query<{ seconds: number }>({
    name: "outbox_age",
    text: `select greatest(0, extract(epoch from clock_timestamp() - event.time)) as seconds
             from (select aggregate_ids[1] as aggregate_id, sequences[1] as sequence
                     from outbox order by position limit 1) as oldest
             join event using (aggregate_id, sequence)`,
  });
  return rows[0]?.seconds ?? 0;
}

async function isEmpty(db: Db): Promise<boolean> {
  const { rowCount } = await db.query({ name: "relay_is_empty", text: "select from outbox limit 1" });
  return rowCount === 0;
}

/**
 * One pass: publishes rows of the list until they have 500 facts, or more if the last has more. "busy" when another relay is at work,
 * "refused" when something was not acknowledged; that stays listed, and everything after it of the same aggregate.
 */
export async function relayOnce(
  pool: Pool,
  publish: RelayOptions["publish"],
): Promise<{ state: "busy" | "refused" | "done"; count: number }> {
  return inTransaction(pool, async (db) => {
    if (!(await lock(db))) return { state: "busy", count: 0 };
    const listed = await listUnpublished(db);
    if (listed.length === 0) return { state: "done", count: 0 };
    const isDone = await publishListed(db, publish, listed);
    return { state: isDone ? "done" : "refused", count: listed.reduce((sum, { facts }) => sum + facts.length, 0) };
  });
}

/**
 * Publishes facts that were just committed, but none of an aggregate of which an older one is listed that is not among them: `isAll`
 * tells whether there was none such.
 */
async function publishFresh(
  pool: Pool,
  publish: RelayOptions["publish"],
  batch: readonly ListedFacts[],
): Promise<{ state: "busy" | "refused" | "done"; isAll: boolean }> {
  return inTransaction(pool, async (db) => {
    // In one packet. The second runs when the first has the lock, and so sees what an earlier holder left.
    const [isHeld, isLate] = await Promise.all([lock(db), findLate(db, batch)]);
    if (!isHeld) return { state: "busy", isAll: false };
    let isAll = true;
    const withoutLate: RelayOptions["publish"] = async (facts) => {
      const due = facts.filter((fact) => !isLate(fact));
      isAll = due.length === facts.length;
      const acknowledged = await publish(due);
      let at = 0;
      return facts.map((fact) => !isLate(fact) && acknowledged[at++] === true);
    };
    const isDone = await publishListed(db, withoutLate, batch);
    return { state: isDone || !isAll ? "done" : "refused", isAll };
  });
}

/** Publishes facts and takes off the list what was acknowledged; true when all was. */
async function publishListed(
  db: Db,
  publish: RelayOptions["publish"],
  listed: readonly ListedFacts[],
): Promise<boolean> {
  const acknowledged = await publish(listed.flatMap(({ facts }) => facts));
  let at = 0;
  const left = listed.map(({ position, facts }) => ({ position, facts: facts.filter(() => !acknowledged[at++]) }));
  const removed = db.query({
    name: "relay_remove",
    text: "delete from outbox where position = any($1::bigint[])",
    values: [left.filter(({ facts }) => facts.length === 0).map(({ position }) => position)],
  });
  await awaitWithCommit(db, removed);
  const refused = left.flatMap(({ position, facts }) => facts.map((fact) => ({ position, fact })));
  if (refused.length === 0) return true;
  const kept = db.query({
    name: "relay_keep",
    text: `update outbox o set aggregate_ids = kept.aggregate_ids, sequences = kept.sequences
             from (select position, array_agg(aggregate_id order by turn) as aggregate_ids, array_agg(sequence order by turn) as sequences
                     from unnest($1::bigint[], $2::uuid[], $3::int[]) with ordinality as fact (position, aggregate_id, sequence, turn)
                    group by position) as kept
            where o.position = kept.position`,
    values: [
      refused.map(({ position }) => position),
      refused.map(({ fact }) => fact.aggregateId),
      refused.map(({ fact }) => fact.sequence),
    ],
  });
  await awaitWithCommit(db, kept);
  return false;
}

/** So many rows of others are looked at; when there are more, the list is read. */
const maxOthers = 100;

/**
 * Tells of a fact whether an older one of its aggregate is listed in another row: another process has written it. All of them are late
 * if the list was made anew meanwhile.
 */
async function findLate(db: Db, batch: readonly ListedFacts[]): Promise<(fact: StoredFact) => boolean> {
  const isFollower = ({ sequence }: StoredFact) => sequence > 1;
  if (!batch.some(({ facts }) => facts.some(isFollower))) return () => false;
  const ours = new Set(batch.map(({ position }) => position));
  const { rows } = await db.query<{ position: number; aggregate_ids: string[]; sequences: number[] }>({
    name: "relay_find_others",
    text: `select position,
                  case when position = any($1::bigint[]) then '{}' else aggregate_ids end as aggregate_ids,
                  case when position = any($1::bigint[]) then '{}' else sequences end as sequences
             from outbox
            where position <= (select max(position) from unnest($1::bigint[]) as ours (position))
            order by position
            limit $2`,
    values: [[...ours], ours.size + maxOthers],
  });
  const found = rows.filter(({ position }) => ours.has(position)).length;
  if (found < ours.size) return () => true; // too many others, or ours are not where they were
  const firsts = new Map<string, number>();
  for (const { aggregate_ids: ids, sequences } of rows) {
    for (const [at, sequence] of sequences.entries()) {
      const id = ids[at] ?? "";
      firsts.set(id, Math.min(sequence, firsts.get(id) ?? sequence));
    }
  }
  return ({ aggregateId, sequence }) => (firsts.get(aggregateId) ?? sequence) < sequence;
}

async function lock(db: Db): Promise<boolean> {
  const { rows } = await db.query<{ held: boolean }>({
    name: "relay_lock",
    text: `select pg_try_advisory_xact_lock(${relayLock}) as held`,
  });
  return rows[0]?.held === true;
}

/** The oldest rows of the list with their facts. */
async function listUnpublished(db: Db): Promise<readonly ListedFacts[]> {
  // The last `lateral … limit` is a look into an index for each fact whatever the statistics say (measured: 0.7 instead of 15 ms).
  const { rows } = await db.query<FactRow & { readonly position: number }>({
    name: "relay_list",
    text: `
      with counted as (
        select position, aggregate_ids, sequences, sum(cardinality(sequences)) over (order by position) - cardinality(sequences) as before
          from (select * from outbox order by position limit $1) as oldest
      )
      select counted.position, fact.*
        from counted
             cross join lateral unnest(aggregate_ids, sequences) with ordinality as listed (aggregate_id, sequence, turn)
             cross join lateral (
               select ${factColumns("event")}
                 from event where event.aggregate_id = listed.aggregate_id and event.sequence = listed.sequence limit 1
             ) as fact
       where counted.before < $1
       order by counted.position, listed.turn`,
    values: [batchSize],
  });
  const byPosition = Map.groupBy(rows, ({ position }) => position);
  return [...byPosition].map(([position, facts]) => ({ position, facts: facts.map(toStoredFact) }));
}
