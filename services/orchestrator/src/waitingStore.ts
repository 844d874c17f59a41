/**
 * The waiting lists as the scheduler sees them. One index, `saga_waiting`, holds a list for each tenant, queue, key and kind of place, in
 * its order. A pass skips from queue to queue and from list to list along it and reads the first few of each: what it reads is bounded by
 * how many queues, lists and heads it looks at (`Window`), whatever waits behind them. With more queues or lists than that, each pass
 * goes on where the last one stopped.
 */
import type { Db } from "@capstan/postgres";
import type { Saga } from "./runJob.ts";
import { claimSeconds, type SagaRow, sagaFromRow } from "./sagaStore.ts";
import type { Head, Lane, LaneKey } from "./shareTurns.ts";

/** What one pass looks at. */
export interface Window {
  readonly queues: number;
  readonly lanesPerQueue: number;
  readonly headsPerLane: number;
  /** Where the last pass stopped: the queue after which this one begins, and in each queue the list. */
  readonly afterQueue: QueueKey;
  readonly afterLanes: readonly LaneKey[];
}

export interface QueueKey {
  readonly tenant: string;
  readonly queue: string;
}

export interface WaitingHead extends Head {
  readonly reason: string;
  readonly message: string;
}

interface HeadRow {
  tenant: string;
  queue: string;
  concurrency_key: string;
  placement_key: string;
  id: string | null;
  order_ms: number;
  deadline_ms: number | null;
  position: number;
  reason: string;
  message: string;
}

const free =
  "stage = 'WAITING' and not is_held and wakeup_time <= clock_timestamp() and claim_until <= clock_timestamp()";

/** The first of each list after `key`, in the order of the index; a list all of which is claimed is there without heads. */
const headsOf = `
  left join lateral (
    select id, extract(epoch from order_time)::float8 * 1000 as order_ms, extract(epoch from deadline_time)::float8 * 1000 as deadline_ms,
           position, reason, message
      from orchestrator.saga
     where ${free} and tenant = lane.tenant and queue = lane.queue and concurrency_key = lane.concurrency_key
       and placement_key = lane.placement_key
     order by order_time, deadline_time, position
     limit $1
  ) head on true`;

/** The heads of the lists in a window, in the order of queues and lists. */
export async function readHeads(db: Db, window: Window): Promise<readonly Lane<WaitingHead>[]> {
  const { rows } = await db.query<HeadRow>({
    name: "read_heads",
    text: `with recursive line as (
             (select tenant, queue, 1 as n
                from orchestrator.saga
               where stage = 'WAITING' and (tenant, queue) > ($4, $5)
               order by tenant, queue
               limit 1)
             union all
             select next.tenant, next.queue, line.n + 1
               from line
               cross join lateral (
                 select tenant, queue
                   from orchestrator.saga
                  where stage = 'WAITING' and (tenant, queue) > (line.tenant, line.queue)
                  order by tenant, queue
                  limit 1) next
              where line.n < $2
           ), after as (
             select * from unnest($6::text[], $7::text[], $8::text[], $9::text[]) as a (tenant, queue, concurrency_key, placement_key)
           ), lane as (
             select line.tenant, line.queue, found.concurrency_key, found.placement_key
               from line
               left join after on after.tenant = line.tenant and after.queue = line.queue
               cross join lateral (
                 with recursive list as (
                   (select concurrency_key, placement_key, 1 as n
                      from orchestrator.saga
                     where stage = 'WAITING' and tenant = line.tenant and queue = line.queue
                       and (concurrency_key, placement_key) > (coalesce(after.concurrency_key, ''), coalesce(after.placement_key, ''))
                     order by concurrency_key, placement_key
                     limit 1)
                   union all
                   select next.concurrency_key, next.placement_key, list.n + 1
                     from list
                     cross join lateral (
                       select concurrency_key, placement_key
                         from orchestrator.saga
                        where stage = 'WAITING' and tenant = line.tenant and queue = line.queue
                          and (concurrency_key, placement_key) > (list.concurrency_key, list.placement_key)
                        order by concurrency_key, placement_key
                        limit 1) next
                    where list.n < $3
                 ) select * from list) found
           )
           select lane.*, head.* from lane ${headsOf}`,
    values: [
      window.headsPerLane,
      window.queues,
      window.lanesPerQueue,
      window.afterQueue.tenant,
      window.afterQueue.queue,
      window.afterLanes.map(({ tenant }) => tenant),
      window.afterLanes.map(({ queue }) => queue),
      window.afterLanes.map(({ key }) => key),
      window.afterLanes.map(({ placementKey }) => placementKey),
    ],
  });
  return lanesFrom(rows);
}

/** The heads of lists that are known, such as the only one there is. */
export async function readHeadsOf(
  db: Db,
  lanes: readonly LaneKey[],
  headsPerLane: number,
): Promise<readonly Lane<WaitingHead>[]> {
  const { rows } = await db.query<HeadRow>({
    name: "read_heads_of",
    text: `select lane.*, head.*
             from unnest($2::text[], $3::text[], $4::text[], $5::text[]) as lane (tenant, queue, concurrency_key, placement_key)
             ${headsOf}`,
    values: [
      headsPerLane,
      lanes.map(({ tenant }) => tenant),
      lanes.map(({ queue }) => queue),
      lanes.map(({ key }) => key),
      lanes.map(({ placementKey }) => placementKey),
    ],
  });
  return lanesFrom(rows);
}

function lanesFrom(rows: readonly HeadRow[]): readonly Lane<WaitingHead>[] {
  const lanes = new Map<string, { lane: LaneKey; heads: WaitingHead[] }>();
  for (const row of rows) {
    const { tenant, queue, concurrency_key: key, placement_key: placementKey } = row;
    const lane = { tenant, queue, key, placementKey };
    const path = laneId(lane);
    const there = lanes.get(path) ?? { lane, heads: [] };
    lanes.set(path, there);
    if (row.id === null) continue;
    const { id, reason, message } = row;
    const deadlineMs = row.deadline_ms ?? Number.POSITIVE_INFINITY;
    there.heads.push({ id, orderMs: row.order_ms, deadlineMs, position: row.position, reason, message });
  }
  return [...lanes.values()].map(({ lane, heads }) => ({ ...lane, heads }));
}

export function laneId({ tenant, queue, key, placementKey }: LaneKey): string {
  return `${tenant}\0${queue}\0${key}\0${placementKey}`;
}

/**
 * Claims WAITING sagas for one pass, unless somebody else has them; those in `countedIds` count as running from now on. Gives them back
 * in the order in which they were asked for.
 */
export async function claimSagas(
  db: Db,
  ids: readonly string[],
  countedIds: readonly string[] = [],
): Promise<readonly Saga[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<SagaRow>({
    name: "claim_sagas",
    text: `update orchestrator.saga s
              set claim_until = clock_timestamp() + $2 * interval '1 second', version = s.version + 1,
                  is_counted = s.id = any($3::uuid[])
             from (select id from orchestrator.saga where id = any($1::uuid[]) and ${free} for update skip locked) due
            where s.id = due.id
           returning s.*`,
    values: [ids, claimSeconds, countedIds],
  });
  const place = new Map(ids.map((id, index) => [id, index]));
  return rows.map(sagaFromRow).sort((a, b) => (place.get(a.id) ?? 0) - (place.get(b.id) ?? 0));
}

/** Claims the first of one list. */
export async function claimFirst(
  db: Db,
  { tenant, queue, key, placementKey }: LaneKey,
  limit: number,
): Promise<readonly Saga[]> {
  const { rows } = await db.query<SagaRow>({
    name: "claim_first",
    text: `update orchestrator.saga s
              set claim_until = clock_timestamp() + $2 * interval '1 second', version = s.version + 1
             from (select id
                     from orchestrator.saga
                    where ${free} and tenant = $3 and queue = $4 and concurrency_key = $5 and placement_key = $6
                    order by order_time, deadline_time, position
                    limit $1
                      for update skip locked) due
            where s.id = due.id
           returning s.*`,
    values: [limit, claimSeconds, tenant, queue, key, placementKey],
  });
  const byPosition = (a: SagaRow, b: SagaRow) => a.position - b.position;
  const byDeadline = (a: SagaRow, b: SagaRow) => timeOf(a.deadline_time) - timeOf(b.deadline_time);
  return rows
    .sort((a, b) => timeOf(a.order_time) - timeOf(b.order_time) || byDeadline(a, b) || byPosition(a, b))
    .map(sagaFromRow);
}

/** Late, but a number: two of them can be subtracted. */
function timeOf(time: Date | null): number {
  return time?.getTime() ?? Number.MAX_SAFE_INTEGER;
}
