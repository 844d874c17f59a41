/** The statements of queues that may be only so deep. */
import type { Db } from "@capstan/postgres";

export interface QueueName {
  readonly tenant: string;
  readonly queue: string;
}

/** How deep a queue may be, and how fast it is drained as far as anybody knows; 0: nobody does. */
export interface QueueLimit extends QueueName {
  readonly maxDepth: number;
  readonly drainPerSecond: number;
}

const columns = `tenant, queue, max_depth as "maxDepth", drain_per_second as "drainPerSecond"`;

export async function loadLimits(db: Db): Promise<readonly QueueLimit[]> {
  return (await db.query<QueueLimit>({ name: "load_limits", text: `select ${columns} from job.queue_limit` })).rows;
}

/** Locks limits until the end of the transaction, in one order, so that who submits to one queue follow one another. */
export async function lockLimits(db: Db, names: readonly QueueName[]): Promise<readonly QueueLimit[]> {
  const { rows } = await db.query<QueueLimit>({
    name: "lock_limits",
    text: `select ${columns}
             from job.queue_limit
            where (tenant, queue) in (select * from unnest($1::text[], $2::text[]))
            order by tenant, queue
              for update`,
    values: [names.map(({ tenant }) => tenant), names.map(({ queue }) => queue)],
  });
  return rows;
}

/** How many PENDING jobs are in queues, no further than what they may hold: read from an index that holds nothing else. */
export async function countPending(
  db: Db,
  limits: readonly QueueLimit[],
): Promise<readonly (QueueName & { readonly depth: number })[]> {
  const { rows } = await db.query<QueueName & { depth: number }>({
    name: "count_pending",
    text: `select k.tenant, k.queue, pending.depth
             from unnest($1::text[], $2::text[], $3::int[]) as k (tenant, queue, most)
            cross join lateral (
              select count(*)::int as depth
                from (select 1 from job.job j
                       where j.is_bounded and j.state = 'PENDING' and j.tenant = k.tenant and j.queue = k.queue
                       limit k.most) few) pending`,
    values: [
      limits.map(({ tenant }) => tenant),
      limits.map(({ queue }) => queue),
      limits.map(({ maxDepth }) => maxDepth),
    ],
  });
  return rows;
}

export async function markBounded(db: Db, jobIds: readonly string[]): Promise<void> {
  const text = "update job.job set is_bounded = true where id = any($1::uuid[])";
  await db.query({ name: "mark_bounded", text, values: [jobIds] });
}

/**
 * Keeps limits; one of 0 is forgotten. What is PENDING in a queue that had none is counted from now on: the one time that all live jobs
 * are looked through.
 */
export async function saveLimits(db: Db, limits: readonly QueueLimit[]): Promise<void> {
  const some = limits.filter(({ maxDepth }) => maxDepth > 0);
  const none = limits.filter(({ maxDepth }) => maxDepth === 0);
  await db.query({
    text: "delete from job.queue_limit where (tenant, queue) in (select * from unnest($1::text[], $2::text[]))",
    values: [none.map(({ tenant }) => tenant), none.map(({ queue }) => queue)],
  });
  const { rows } = await db.query<QueueName & { isNew: boolean }>({
    text: `insert into job.queue_limit as l (tenant, queue, max_depth, drain_per_second)
           select * from unnest($1::text[], $2::text[], $3::int[], $4::float8[])
           on conflict (tenant, queue) do update
              set max_depth = excluded.max_depth, drain_per_second = excluded.drain_per_second, update_time = clock_timestamp()
            where (l.max_depth, l.drain_per_second) is distinct from (excluded.max_depth, excluded.drain_per_second)
           returning tenant, queue, xmax = 0 as "isNew"`,
    values: [
      some.map(({ tenant }) => tenant),
      some.map(({ queue }) => queue),
      some.map(({ maxDepth }) => maxDepth),
      some.map(({ drainPerSecond }) => drainPerSecond),
    ],
  });
  const fresh = rows.filter(({ isNew }) => isNew);
  if (fresh.length === 0) return;
  await db.query({
    text: `update job.job j
              set is_bounded = true
             from unnest($1::text[], $2::text[]) as k (tenant, queue)
            where j.tenant = k.tenant and j.queue = k.queue and j.state = 'PENDING' and j.end_time is null and not j.is_bounded`,
    values: [fresh.map(({ tenant }) => tenant), fresh.map(({ queue }) => queue)],
  });
}
