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
import { readFreshFacts } from "./freshFacts.ts";
import { startGauge } from "./gauge.ts";
import type { Log } from "./log.ts";
import { inTransaction } from "./transaction.ts";

/** What the relay needs of the process it runs in: loops that show in its health. `App` of @capstan/service is one. */
export interface Loops {
  startLoop(options: { name: string; intervalMs: number; once: (signal: AbortSignal) => Promise<boolean> }): {
    wake(): void;
    stop(): Promise<void>;
  };
}

export interface RelayOptions {
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
   * Call it after something was listed outside of a transaction of this pool, or again; without it that waits for the next poll, up to
   * 11 s. What a transaction appends is published after its COMMIT without being asked for.
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

/** Starts the loop that publishes the facts of a schema until it is stopped. */
export function startRelay({ pool, context, publish, log, app }: RelayOptions): Relay {
  let mustList = true; // whatever an earlier process left is due at once
  let fresh: StoredFact[] = [];
  let freshBytes = 0;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  const loop = app.startLoop({ name: `${context}-relay`, intervalMs: pollMs, once });
  startGauge({
    pool,
    name: "capstan.outbox.age_seconds",
    description: "Age of the oldest fact that is not published yet; 0 when all are",
    read: async (db) => [{ value: await outboxAgeSeconds(db), attributes: { context } }],
  });

  readFreshFacts(pool, (facts) => {
    if (mustList) return; // they will be read with the list, which is being read or is due
    fresh.push(...facts);
    for (const { json } of facts) freshBytes += json.length;
    if (fresh.length > maxFresh.facts || freshBytes > maxFresh.bytes) list();
    loop.wake();
  });

  /** Nothing that is in memory is older than what is listed, and all of it is. */
  function list(): void {
    mustList = true;
    fresh = [];
    freshBytes = 0;
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

  async function once(): Promise<boolean> {
    if (fresh.length > 0) return await relayFresh();
    // An idle relay costs one small statement a poll; it opens a transaction only when there is something.
    if (!mustList && (await isEmpty(pool))) return false;
    list();
    mustList = false; // what is committed from now on is handed to us
    const { state, count } = await relayOnce(pool, publish);
    return settle(state, count === batchSize);
  }

  async function relayFresh(): Promise<boolean> {
    const batch = fresh.splice(0, batchSize);
    for (const { json } of batch) freshBytes -= json.length;
    try {
      const { state, isAll } = await publishFresh(pool, publish, batch);
      return settle(state, !isAll);
    } catch (error) {
      list(); // the batch is no longer in memory
      throw error;
    }
  }

  /** True when there is more to do at once. */
  function settle(state: "busy" | "refused" | "done", isMoreListed: boolean): boolean {
    if (state === "busy") wakeIn(busyRetryMs);
    if (state === "refused") retryLater();
    else failures = 0;
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

async function outboxAgeSeconds(db: Db): Promise<number> {
  const { rows } = await db.query<{ seconds: number }>({
    name: "outbox_age",
    text: `select greatest(0, extract(epoch from clock_timestamp() - event.time)) as seconds
             from (select aggregate_id, sequence from outbox order by position limit 1) as oldest
             join event using (aggregate_id, sequence)`,
  });
  return rows[0]?.seconds ?? 0;
}

async function isEmpty(db: Db): Promise<boolean> {
  const { rowCount } = await db.query({ name: "relay_is_empty", text: "select from outbox limit 1" });
  return rowCount === 0;
}

/**
 * One pass: publishes at most 500 facts. "busy" when another relay is at work, "refused" when something was not acknowledged; that
 * stays listed, and everything after it of the same aggregate.
 */
export async function relayOnce(
  pool: Pool,
  publish: RelayOptions["publish"],
): Promise<{ state: "busy" | "refused" | "done"; count: number }> {
  return inTransaction(pool, async (db) => {
    if (!(await lock(db))) return { state: "busy", count: 0 };
    const listed = await listUnpublished(db);
    if (listed.length === 0) return { state: "done", count: 0 };
    const acknowledged = await publish(listed.map(toStoredFact));
    const done = listed.filter((_, at) => acknowledged[at]);
    await removePublished(db, done);
    return { state: done.length === listed.length ? "done" : "refused", count: listed.length };
  });
}

/**
 * Publishes facts that were just committed, but none of an aggregate of which an older one is listed that is not among them: `isAll`
 * tells whether there was none such.
 */
async function publishFresh(
  pool: Pool,
  publish: RelayOptions["publish"],
  batch: readonly StoredFact[],
): Promise<{ state: "busy" | "refused" | "done"; isAll: boolean }> {
  const firsts = new Map<string, number>();
  for (const { aggregateId, sequence } of batch) {
    firsts.set(aggregateId, Math.min(sequence, firsts.get(aggregateId) ?? sequence));
  }
  const followers = [...firsts].filter(([, sequence]) => sequence > 1);
  return inTransaction(pool, async (db) => {
    if (!(await lock(db))) return { state: "busy", isAll: false };
    const late = followers.length === 0 ? new Set() : await findFollowers(db, followers);
    const due = late.size === 0 ? batch : batch.filter(({ aggregateId }) => !late.has(aggregateId));
    const acknowledged = await publish(due);
    const done = due.filter((_, at) => acknowledged[at]);
    await db.query({
      name: "relay_remove_fresh",
      text: `delete from outbox o using unnest($1::uuid[], $2::int[]) as done (aggregate_id, sequence)
              where o.aggregate_id = done.aggregate_id and o.sequence = done.sequence`,
      values: [done.map(({ aggregateId }) => aggregateId), done.map(({ sequence }) => sequence)],
    });
    return { state: done.length === due.length ? "done" : "refused", isAll: late.size === 0 };
  });
}

/** Those of which something older is listed. */
async function findFollowers(db: Db, firsts: readonly (readonly [string, number])[]): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>({
    name: "relay_find_followers",
    text: `select first.aggregate_id as id
             from unnest($1::uuid[], $2::int[]) as first (aggregate_id, sequence)
            where exists (select from outbox o where o.aggregate_id = first.aggregate_id and o.sequence < first.sequence)`,
    values: [firsts.map(([id]) => id), firsts.map(([, sequence]) => sequence)],
  });
  return new Set(rows.map(({ id }) => id));
}

async function lock(db: Db): Promise<boolean> {
  const { rows } = await db.query<{ held: boolean }>({
    name: "relay_lock",
    text: `select pg_try_advisory_xact_lock(${relayLock}) as held`,
  });
  return rows[0]?.held === true;
}

/** Where a row of the outbox lies; nobody else moves or removes it while we hold the lock. */
type ListedRow = FactRow & { readonly place: string; readonly position: number };

/**
 * The oldest unpublished facts, with every older one of the same aggregates: after facts were listed again for a lost stream, an
 * older fact may stand behind a younger one. Sorted by position, but never against the sequence of an aggregate.
 */
async function listUnpublished(db: Db): Promise<readonly ListedRow[]> {
  // Each `lateral … limit` is one look into an index whatever the statistics say: of a table that is filled and emptied all the
  // time they are wrong, and a plan that reads it whole reads all the dead rows too (measured: 15 ms instead of 0.7).
  const { rows } = await db.query<ListedRow>({
    name: "relay_list",
    text: `
      with due as (
        select distinct aggregate_id from (select aggregate_id from outbox order by position limit $1) as oldest
      ), next as (
        select place, position, aggregate_id, sequence, max(position) over (partition by aggregate_id order by sequence) as turn
          from due
               cross join lateral (
                 select ctid as place, position, sequence
                   from outbox where outbox.aggregate_id = due.aggregate_id order by sequence limit $1
               ) as listed
         order by turn, sequence
         limit $1
      )
      select next.place, next.position, fact.*
        from next
             cross join lateral (
               select ${factColumns("event")}
                 from event where event.aggregate_id = next.aggregate_id and event.sequence = next.sequence limit 1
             ) as fact
       order by next.turn, next.sequence`,
    values: [batchSize],
  });
  return rows;
}

/** By place, because a plan by index may be one by reading everything, as above; the position proves that it is the row. */
async function removePublished(db: Db, rows: readonly ListedRow[]): Promise<void> {
  await db.query({
    name: "relay_remove",
    text: "delete from outbox where ctid = any($1::tid[]) and position = any($2::bigint[])",
    values: [rows.map((row) => row.place), rows.map((row) => row.position)],
  });
}
