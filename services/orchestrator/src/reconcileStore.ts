/** What the reconciler asks of the sagas. */
import type { Db } from "@capstan/postgres";

/** Which of these ids no saga has, ended or not. */
export async function findUnknown(db: Db, ids: readonly string[]): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "find_unknown_sagas",
    text: `select asked.id from unnest($1::uuid[]) as asked (id)
            where not exists (select from orchestrator.saga s where s.id = asked.id)`,
    values: [ids],
  });
  return rows.map(({ id }) => id);
}

/** Which of these ids no live saga has. */
export async function findUnled(db: Db, ids: readonly string[]): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "find_unled_sagas",
    text: `select asked.id from unnest($1::uuid[]) as asked (id)
            where not exists (select from orchestrator.saga s where s.id = asked.id and s.stage not in ('DONE', 'COMPENSATED'))`,
    values: [ids],
  });
  return rows.map(({ id }) => id);
}

export interface LongLived {
  readonly id: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly step: string;
}

export interface LongLivedPage {
  readonly sagas: readonly LongLived[];
  /** Where the next page begins; null if there is none. */
  readonly last: readonly string[] | null;
}

const columns = 'id, tenant, job_id as "jobId", step, stage_time';
const isOld = "stage_time < clock_timestamp() - $1 * interval '1 millisecond'";

/**
 * Sagas that are to start or run, and have done so for `minAgeMs`, in the order of their ids, after those of `after`. No more are there
 * than capacity; they are read first, because the order of all ids leads through whatever has ended.
 */
export async function listPlaced(
  db: Db,
  minAgeMs: number,
  [afterId = "00000000-0000-0000-0000-000000000000"]: readonly string[],
  limit: number,
): Promise<LongLivedPage> {
  const { rows } = await db.query<LongLived>({
    name: "list_placed_sagas",
    text: `with placed as materialized (
             select ${columns} from orchestrator.saga
              where stage in ('RESERVED', 'STARTED') and stage in ('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING')
           )
           select id, tenant, "jobId", step from placed where ${isOld} and id > $2::uuid order by id limit $3`,
    values: [minAgeMs, afterId, limit],
  });
  const last = rows.length === limit ? rows.at(-1) : undefined;
  return { sagas: rows, last: last === undefined ? null : [last.id] };
}

/** The place of a saga in the order of the waiting lists, in which what comes before every saga is first. */
const waitingFrom = ["", "", "", "", "-infinity", "-infinity", "0"];

/**
 * The same of sagas that wait, of which there may be very many: a page of the waiting lists, in their order, and of it those that have
 * waited for `minAgeMs`.
 */
export async function listWaiting(
  db: Db,
  minAgeMs: number,
  after: readonly string[],
  limit: number,
): Promise<LongLivedPage> {
  const { rows } = await db.query<LongLived & { readonly isOld: boolean; readonly place: readonly string[] }>({
    name: "list_waiting_sagas",
    // An index cannot be entered at a column that may be null: what has the same place but for that is passed over.
    text: `select id, tenant, job_id as "jobId", step, ${isOld} as "isOld",
                  array[tenant, queue, concurrency_key, placement_key, order_time::text,
                        coalesce(deadline_time, 'infinity')::text, position::text] as place
             from orchestrator.saga
            where stage = 'WAITING'
              and (tenant, queue, concurrency_key, placement_key, order_time) >= ($2, $3, $4, $5, $6::timestamptz)
              and (tenant, queue, concurrency_key, placement_key, order_time, coalesce(deadline_time, 'infinity'), position)
                  > ($2, $3, $4, $5, $6::timestamptz, $7::timestamptz, $8::bigint)
            order by tenant, queue, concurrency_key, placement_key, order_time, deadline_time, position
            limit $9`,
    values: [minAgeMs, ...(after.length === 0 ? waitingFrom : after), limit],
  });
  const sagas = rows.flatMap(({ isOld: isListed, place: _, ...saga }) => (isListed ? [saga] : []));
  return { sagas, last: rows.length === limit ? (rows.at(-1)?.place ?? null) : null };
}
