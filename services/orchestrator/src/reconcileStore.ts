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

/** Sagas that wait, are to start or run, and have done so for `minAgeMs`; of each kind at most `limit`. */
export async function listLongLived(db: Db, minAgeMs: number, limit: number): Promise<readonly LongLived[]> {
  const { rows } = await db.query<LongLived>({
    name: "list_long_lived_sagas",
    text: `(select id, tenant, job_id as "jobId", step from orchestrator.saga
             where stage in ('RESERVED', 'STARTED') and stage_time < clock_timestamp() - $1 * interval '1 millisecond'
               and stage in ('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING') limit $2)
           union all
           (select id, tenant, job_id, step from orchestrator.saga
             where stage = 'WAITING' and stage_time < clock_timestamp() - $1 * interval '1 millisecond' limit $2)`,
    values: [minAgeMs, limit],
  });
  return rows;
}
