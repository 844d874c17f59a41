/** The statements of queues: their rows, and what is in them. */
import type { Db } from "@capstan/postgres";
import type { Queue, QueueSettings } from "./queue.ts";
import type { QueueKey } from "./waitingStore.ts";

interface QueueRow {
  id: string;
  tenant: string;
  name: string;
  settings: QueueSettings;
  pause_time: Date | null;
  pause_message: string;
  version: number;
  sequence: number;
  create_time: Date;
  update_time: Date;
}

function queueFromRow(row: QueueRow): Queue {
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    settings: row.settings,
    pauseTime: row.pause_time,
    pauseMessage: row.pause_message,
    version: row.version,
    sequence: row.sequence,
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}

/** Every queue that was set. */
export async function loadQueues(db: Db): Promise<readonly Queue[]> {
  const { rows } = await db.query<QueueRow>({ name: "load_queues", text: "select * from orchestrator.queue" });
  return rows.map(queueFromRow);
}

/** Locks queues until the end of the transaction, in one order; what nobody has set is not there. */
export async function lockQueues(db: Db, keys: readonly QueueKey[]): Promise<readonly Queue[]> {
  const { rows } = await db.query<QueueRow>({
    name: "lock_queues",
    text: `select q.*
             from orchestrator.queue q
             join unnest($1::text[], $2::text[]) as k (tenant, name) on q.tenant = k.tenant and q.name = k.name
            order by q.tenant, q.name
              for update of q`,
    values: [keys.map(({ tenant }) => tenant), keys.map(({ queue }) => queue)],
  });
  return rows.map(queueFromRow);
}

/** The queue for a change of it: made and locked, so that two who set it at once follow one another. */
export async function lockOrBegin(
  db: Db,
  { tenant, queue }: QueueKey,
  id: string,
): Promise<{ queue: Queue; now: Date }> {
  await db.query({
    text: `insert into orchestrator.queue (id, tenant, name, settings, version, sequence) values ($1, $2, $3, '{}', 0, 0)
           on conflict do nothing`,
    values: [id, tenant, queue],
  });
  const { rows } = await db.query<QueueRow & { now: Date }>({
    text: "select *, clock_timestamp() as now from orchestrator.queue where tenant = $1 and name = $2 for update",
    values: [tenant, queue],
  });
  const row = rows[0];
  if (row === undefined) throw new Error("the queue was deleted while it was made");
  return { queue: queueFromRow(row), now: row.now };
}

/** Saves a queue that is locked. */
export async function saveQueue(db: Db, queue: Queue): Promise<void> {
  await db.query({
    text: `update orchestrator.queue
              set settings = $3, is_paused = $4::timestamptz is not null, pause_time = $4, pause_message = $5, version = $6,
                  sequence = $7, create_time = coalesce($8, create_time), update_time = $9
            where tenant = $1 and name = $2`,
    values: [
      ...[queue.tenant, queue.name, JSON.stringify(queue.settings), queue.pauseTime, queue.pauseMessage],
      ...[queue.version, queue.sequence, queue.createTime, queue.updateTime],
    ],
  });
}

export async function deleteQueue(db: Db, { tenant, queue }: QueueKey): Promise<void> {
  await db.query({ text: "delete from orchestrator.queue where tenant = $1 and name = $2", values: [tenant, queue] });
}

export async function findQueue(db: Db, { tenant, queue }: QueueKey): Promise<Queue | null> {
  const { rows } = await db.query<QueueRow>({
    text: "select * from orchestrator.queue where tenant = $1 and name = $2 and version > 0",
    values: [tenant, queue],
  });
  return rows[0] === undefined ? null : queueFromRow(rows[0]);
}

/** By name. */
export async function listQueues(db: Db, tenant: string, afterName: string, limit: number): Promise<readonly Queue[]> {
  const { rows } = await db.query<QueueRow>({
    text: "select * from orchestrator.queue where tenant = $1 and name > $2 and version > 0 order by name limit $3",
    values: [tenant, afterName, limit],
  });
  return rows.map(queueFromRow);
}

export interface QueueCounts {
  readonly waiting: number;
  readonly running: number;
  readonly oldestReadyTime: Date | null;
}

/** Counted no further than this. */
const maxCounted = 100_000;

/** What is in queues, in their order. For people: it reads what waits, up to a bound, and all that runs. */
export async function countQueues(db: Db, keys: readonly QueueKey[]): Promise<readonly QueueCounts[]> {
  const { rows } = await db.query<{ waiting: number; running: number; oldest: Date | null }>({
    text: `with k as (select * from unnest($1::text[], $2::text[]) with ordinality as k (tenant, queue, n)),
           running as (
             select k.n, count(*)::int as running
               from k join orchestrator.saga s on s.tenant = k.tenant and s.queue = k.queue
              where s.stage in ('RESERVED', 'STARTED', 'COMPENSATING')
              group by k.n)
           select waiting.count as waiting, coalesce(running.running, 0) as running, waiting.oldest
             from k
             left join running on running.n = k.n
             cross join lateral (
               select count(*)::int as count, min(ready_time) as oldest
                 from (select ready_time from orchestrator.saga
                        where stage = 'WAITING' and tenant = k.tenant and queue = k.queue limit $3) few) waiting
            order by k.n`,
    values: [keys.map(({ tenant }) => tenant), keys.map(({ queue }) => queue), maxCounted],
  });
  return rows.map(({ waiting, running, oldest }) => ({ waiting, running, oldestReadyTime: oldest }));
}

/** What runs of a queue with one key. */
export interface Usage extends QueueKey {
  readonly key: string;
  readonly running: number;
}

/**
 * What runs under the limits of queues, by key. One that is claimed counts as running, and for a few seconds longer than its claim: its
 * place may be saved at this moment.
 */
export async function countRunning(db: Db, keys: readonly QueueKey[]): Promise<readonly Usage[]> {
  const { rows } = await db.query<Usage>({
    name: "count_running",
    text: `select s.tenant, s.queue, s.concurrency_key as key, count(*)::int as running
             from unnest($1::text[], $2::text[]) as k (tenant, queue)
             join orchestrator.saga s on s.tenant = k.tenant and s.queue = k.queue
            where s.is_counted and (s.stage <> 'WAITING' or s.claim_until > clock_timestamp() - interval '5 seconds')
            group by s.tenant, s.queue, s.concurrency_key`,
    values: [keys.map(({ tenant }) => tenant), keys.map(({ queue }) => queue)],
  });
  return rows;
}

/** What a queue, and each of its keys, has begun within the periods of their rates. */
export interface Begun extends QueueKey {
  readonly key: string;
  readonly begun: number;
  readonly begunOfKey: number;
  /** Until the oldest of them leaves its period. */
  readonly nextMs: number;
}

/** Counted on the index, and no more than the rates allow have begun. A period of 0 is none. */
export async function readBegun(
  db: Db,
  periods: readonly (QueueKey & { readonly periodMs: number; readonly keyPeriodMs: number })[],
): Promise<readonly Begun[]> {
  const { rows } = await db.query<Begun>({
    name: "read_begun",
    text: `select tenant, queue, key,
                  (count(*) filter (where left_ms > 0))::int as begun,
                  (count(*) filter (where key_left_ms > 0))::int as "begunOfKey",
                  least(min(left_ms) filter (where left_ms > 0), min(key_left_ms) filter (where key_left_ms > 0)) as "nextMs"
             from (select b.tenant, b.queue, b.concurrency_key as key,
                          k.period_ms - extract(epoch from now - b.begin_time)::float8 * 1000 as left_ms,
                          k.key_period_ms - extract(epoch from now - b.begin_time)::float8 * 1000 as key_left_ms
                     from (select clock_timestamp() as now) clock
                    cross join unnest($1::text[], $2::text[], $3::float8[], $4::float8[])
                          as k (tenant, queue, period_ms, key_period_ms)
                     join orchestrator.begun b on b.tenant = k.tenant and b.queue = k.queue
                      and b.begin_time > now - greatest(k.period_ms, k.key_period_ms) * interval '1 millisecond') recent
            group by tenant, queue, key`,
    values: [
      periods.map(({ tenant }) => tenant),
      periods.map(({ queue }) => queue),
      periods.map(({ periodMs }) => periodMs),
      periods.map(({ keyPeriodMs }) => keyPeriodMs),
    ],
  });
  return rows;
}

/** The jobs that run with keys of queues, but for those that ask. */
export async function findRunningOfKeys(
  db: Db,
  keys: readonly (QueueKey & { readonly concurrencyKey: string; readonly jobId: string })[],
): Promise<readonly string[]> {
  const { rows } = await db.query<{ job_id: string }>({
    text: `select distinct s.job_id
             from unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) as k (tenant, queue, concurrency_key, job_id)
             join orchestrator.saga s
               on s.tenant = k.tenant and s.queue = k.queue and s.concurrency_key = k.concurrency_key and s.job_id <> k.job_id
            where s.is_counted`,
    values: [
      keys.map(({ tenant }) => tenant),
      keys.map(({ queue }) => queue),
      keys.map(({ concurrencyKey }) => concurrencyKey),
      keys.map(({ jobId }) => jobId),
    ],
  });
  return rows.map((row) => row.job_id);
}

/** Notes what queues with a rate begin now. */
export async function insertBegun(
  db: Db,
  sagas: readonly (QueueKey & { readonly id: string; readonly concurrencyKey: string })[],
): Promise<void> {
  await db.query({
    name: "insert_begun",
    text: `insert into orchestrator.begun (saga_id, tenant, queue, concurrency_key)
           select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
           on conflict (saga_id) do update set begin_time = clock_timestamp()`,
    values: [
      sagas.map(({ id }) => id),
      sagas.map(({ tenant }) => tenant),
      sagas.map(({ queue }) => queue),
      sagas.map(({ concurrencyKey }) => concurrencyKey),
    ],
  });
}

/** Forgets what did not begin after all. */
export async function deleteBegun(db: Db, sagaIds: readonly string[]): Promise<void> {
  const text = "delete from orchestrator.begun where saga_id = any($1::uuid[])";
  await db.query({ name: "delete_begun", text, values: [sagaIds] });
}

/** Forgets what no period reaches any more. */
export async function pruneBegun(db: Db, { tenant, queue }: QueueKey, periodMs: number): Promise<void> {
  await db.query({
    name: "prune_begun",
    text: `delete from orchestrator.begun
            where tenant = $1 and queue = $2 and begin_time < clock_timestamp() - $3 * interval '1 millisecond'`,
    values: [tenant, queue, periodMs],
  });
}

/** Counts what runs of queues that have limits from now on, and was begun without. */
export async function countFromNowOn(db: Db, keys: readonly QueueKey[]): Promise<void> {
  await db.query({
    text: `update orchestrator.saga s
              set is_counted = true
             from unnest($1::text[], $2::text[]) as k (tenant, queue)
            where s.tenant = k.tenant and s.queue = k.queue and not s.is_counted
              and s.stage in ('RESERVED', 'STARTED', 'COMPENSATING')`,
    values: [keys.map(({ tenant }) => tenant), keys.map(({ queue }) => queue)],
  });
}
