/** The statements of `worker` and `worker_pool`. A worker's row lives as long as it is connected or its lease is not over. */
import { DomainError } from "@capstan/errors";
import { type Filter, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import type { Registration } from "./worker.ts";

/** Registers a worker, or the one that comes back, with a runner; tells whether it is new. */
export async function addWorker(
  db: Db,
  { id, tenant, pool, slots, handlers, labels, sdk, host }: Registration,
  runnerId: string,
  leaseMs: number,
): Promise<{ readonly row: WorkerRow; readonly isNew: boolean }> {
  const { rows } = await db.query<WorkerRow & { readonly is_new: boolean }>({
    name: "add_worker",
    text: `with pool as (insert into worker_pool (tenant, name) values ($2, $3) on conflict do nothing)
           insert into worker as w (id, tenant, pool, slots, handlers, labels, sdk, host, runner_id, lease_until)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp() + $10 * interval '1 millisecond')
               on conflict (id) do update
              set slots = excluded.slots, handlers = excluded.handlers, labels = excluded.labels, sdk = excluded.sdk,
                  host = excluded.host, runner_id = excluded.runner_id, is_connected = true, is_draining = false,
                  lease_until = excluded.lease_until
            where w.tenant = excluded.tenant and w.pool = excluded.pool
           returning w.*, xmax = 0 as is_new`,
    values: [id, tenant, pool, slots, [...handlers], JSON.stringify(labels), sdk, host, runnerId, leaseMs],
  });
  const [row] = rows;
  if (row === undefined) throw otherPool();
  return { row, isNew: row.is_new };
}

function otherPool(): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "WORKER_IN_OTHER_POOL",
    message: "a worker with this id is in another pool",
  });
}

export interface WorkerElsewhere {
  readonly tenant: string;
  readonly pool: string;
  readonly handlers: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly runner_id: string;
}

/** Workers of other runners that take executions. */
export async function listWorkersElsewhere(db: Db, runnerId: string): Promise<readonly WorkerElsewhere[]> {
  const { rows } = await db.query<WorkerElsewhere>({
    name: "list_workers_elsewhere",
    text: `select tenant, pool, handlers, labels, runner_id from worker
            where runner_id <> $1 and is_connected and not is_draining and lease_until > clock_timestamp()
              and exists (select from runner r where r.id = runner_id and r.lease_until > clock_timestamp())`,
    values: [runnerId],
  });
  return rows;
}

/** Keeps the leases of workers that were heard of; gives back those that are still connected to this runner for everybody else. */
export async function renewWorkers(
  db: Db,
  runnerId: string,
  ids: readonly string[],
  leaseMs: number,
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ id: string }>({
    name: "renew_workers",
    text: `update worker set lease_until = clock_timestamp() + $3 * interval '1 millisecond'
            where id = any($2::uuid[]) and runner_id = $1 and is_connected
           returning id`,
    values: [runnerId, ids, leaseMs],
  });
  return new Set(rows.map(({ id }) => id));
}

/** Notes that a worker takes nothing more: it is draining, or silent. Nothing if it is with another runner by now. */
export async function suspendWorker(db: Db, runnerId: string, id: string, why: "draining" | "silent"): Promise<void> {
  await db.query({
    name: "suspend_worker",
    text: `update worker set is_draining = is_draining or $3, is_connected = is_connected and $3
            where id = $2 and runner_id = $1`,
    values: [runnerId, id, why === "draining"],
  });
}

export interface WorkerRow {
  readonly id: string;
  readonly tenant: string;
  readonly pool: string;
  readonly slots: number;
  readonly handlers: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly sdk: string;
  readonly host: string;
  readonly is_connected: boolean;
  readonly is_draining: boolean;
  readonly create_time: Date;
  readonly lease_until: Date;
}

/** Removes a worker that has said goodbye; null if it is with another runner by now, or was removed. */
export async function removeWorker(db: Db, runnerId: string, id: string): Promise<WorkerRow | null> {
  const { rows } = await db.query<WorkerRow>({
    name: "remove_worker",
    text: "delete from worker where id = $2 and runner_id = $1 returning *",
    values: [runnerId, id],
  });
  return rows[0] ?? null;
}

export async function hasLapsedWorkers(db: Db): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "has_lapsed_workers",
    text: "select from worker where lease_until < clock_timestamp() limit 1",
  });
  return rowCount === 1;
}

/** Removes those whose lease is over, whoever had them; gives back what they were. */
export async function removeLapsedWorkers(db: Db): Promise<readonly WorkerRow[]> {
  const { rows } = await db.query<WorkerRow>({
    name: "remove_lapsed_workers",
    text: "delete from worker where lease_until < clock_timestamp() returning *",
  });
  return rows;
}

/** The number of the last fact of each worker that has any; a worker may be lost and come back. */
export async function lastSequences(db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { rows } = await db.query<{ id: string; sequence: number }>(
    "select aggregate_id as id, max(sequence)::int as sequence from event where aggregate_id = any($1::uuid[]) group by 1",
    [ids],
  );
  return new Map(rows.map(({ id, sequence }) => [id, sequence]));
}

interface ListWorkersQuery {
  readonly tenant: string;
  readonly filter: Filter | null;
  /** Pool and id of the last worker of the page before; null for the first page. */
  readonly cursor: readonly string[] | null;
  readonly limit: number;
}

/** What `filter` may be about, in proto names; each is our own SQL. */
const filterColumns = { pool: "w.pool", sdk: "w.sdk", slots: "w.slots", create_time: "w.create_time" } as const;

/** By pool and id. */
export async function listWorkers(db: Db, query: ListWorkersQuery): Promise<readonly WorkerRow[]> {
  const values: unknown[] = [query.tenant, query.limit];
  const matches = filterToSql(query.filter, filterColumns, values);
  const [pool, id] = query.cursor ?? [];
  const after = query.cursor === null ? "" : `and (w.pool, w.id) > ($${values.push(pool)}, $${values.push(id)}::uuid)`;
  const { rows } = await db.query<WorkerRow>(
    `select w.* from worker w where w.tenant = $1 and (${matches}) ${after} order by w.pool, w.id limit $2`,
    values,
  );
  return rows;
}

/** Workers of one pool that are alike, and when it was so; `handlers` is null for a pool without any. */
export interface PoolGroup {
  readonly tenant: string;
  readonly pool: string;
  readonly handlers: readonly string[] | null;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly workers: number;
  readonly slots: number;
  readonly observe_time: Date;
}

/** What every pool is made of, those without workers included. */
export async function surveyPools(db: Db): Promise<readonly PoolGroup[]> {
  const { rows } = await db.query<PoolGroup>({
    name: "survey_pools",
    text: `select p.tenant, p.name as pool, w.handlers, w.labels::jsonb as labels, count(w.id)::int as workers,
                  coalesce(sum(w.slots), 0)::int as slots, (select clock_timestamp()) as observe_time
             from worker_pool p
             left join worker w
               on w.tenant = p.tenant and w.pool = p.name and w.is_connected and not w.is_draining
              and w.lease_until > clock_timestamp()
            group by p.tenant, p.name, w.handlers, w.labels::jsonb
            order by p.tenant, p.name`,
  });
  return rows;
}

/** Forgets pools that no provider stands for any more; those with workers stay. */
export async function removePools(db: Db, pools: readonly { tenant: string; name: string }[]): Promise<void> {
  await db.query(
    `delete from worker_pool p
      using unnest($1::text[], $2::text[]) as gone (tenant, name)
      where p.tenant = gone.tenant and p.name = gone.name
        and not exists (select from worker w where w.tenant = p.tenant and w.pool = p.name)`,
    [pools.map(({ tenant }) => tenant), pools.map(({ name }) => name)],
  );
}

/** A handler's last word on how far an execution is. */
export interface Progress {
  readonly executionId: string;
  /** From 0 to 1; null if it cannot tell. */
  readonly fraction: number | null;
  readonly message: string;
}

/** Notes how far executions of this runner are; those that have ended keep their last word. */
export async function saveProgress(db: Db, runnerId: string, words: readonly Progress[]): Promise<void> {
  await db.query({
    name: "save_progress",
    text: `update execution e set progress = word.progress
             from unnest($2::uuid[], $3::json[]) as word (id, progress)
            where e.id = word.id and e.lease_owner = $1 and e.end_time is null`,
    values: [
      runnerId,
      words.map(({ executionId }) => executionId),
      words.map(({ fraction, message }) => JSON.stringify(fraction === null ? { message } : { fraction, message })),
    ],
  });
}
