/** The statements by which a runner becomes the holder of executions that are already recorded. Each raises the fence. */
import type { Db } from "@capstan/postgres";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Assignment, Execution, ProviderKind } from "./execution.ts";
import { columns, type ExecutionRow, executionFromRow } from "./executionStore.ts";

/** An execution and the number its holder writes under. */
interface Lease {
  readonly id: string;
  readonly fence: number;
}

/** An execution with a new holder. Ages are measured by the database, so that no clock of ours matters. */
export interface TakenOver {
  readonly assignment: Assignment;
  readonly execution: Execution;
  readonly ageMs: number;
  /** Since it was seen to start; null when it was not. */
  readonly runningMs: number | null;
}

/** Takes over live executions whose runner is gone, at most `limit`, passing by those another runner is taking. */
export async function takeOverExecutions(db: Db, runnerId: string, limit: number): Promise<readonly TakenOver[]> {
  return takeOver(
    db,
    `select e.id from execution e
      where e.end_time is null and not exists (select from runner where runner.id = e.lease_owner)
      order by e.id limit $2 for no key update of e skip locked`,
    [runnerId, limit],
  );
}

/** Live executions of which this runner is the holder. */
export async function listHeld(db: Db, runnerId: string): Promise<readonly Lease[]> {
  const { rows } = await db.query<{ id: string; fence: number }>(
    "select id, fence from execution where lease_owner = $1 and end_time is null",
    [runnerId],
  );
  return rows;
}

/** Raises the fence of the runner's own executions that are still live under the fence they were listed with. */
export async function reclaimExecutions(
  db: Db,
  runnerId: string,
  held: readonly Lease[],
): Promise<readonly TakenOver[]> {
  return takeOver(
    db,
    `select e.id from execution e join unnest($2::uuid[], $3::bigint[]) as held(id, fence) using (id, fence)
      where e.end_time is null and e.lease_owner = $1 order by e.id for no key update of e`,
    [runnerId, held.map(({ id }) => id), held.map(({ fence }) => fence)],
  );
}

/** A worker, with the executions it says it holds. */
interface HeldBy {
  readonly tenant: string;
  readonly pool: string;
  readonly workerId: string;
  readonly ids: readonly string[];
}

/** Live, and can be with this worker: of its pool, sent to some worker, and not known to run on another. From `$2` on. */
const isWithWorker = `e.id = any($2::uuid[]) and e.kind = 'WORKER' and e.end_time is null and e.state <> 'ASSIGNED'
      and e.tenant = $3 and e.provider_name = $4 and e.external_ref in ('', 'worker:' || $5::text)`;

/** Takes over what a worker holds that has connected to this runner, whoever held it before. */
export async function takeOverFromWorker(
  db: Db,
  runnerId: string,
  { ids, tenant, pool, workerId }: HeldBy,
): Promise<readonly TakenOver[]> {
  return takeOver(
    db,
    `select e.id from execution e where ${isWithWorker} and e.lease_owner <> $1 order by e.id for no key update of e`,
    [runnerId, ids, tenant, pool, workerId],
  );
}

/** Which of a worker's executions are live and held by this runner. */
export async function findHeldByWorker(
  db: Db,
  runnerId: string,
  { ids, tenant, pool, workerId }: HeldBy,
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ id: string }>(
    `select e.id from execution e where ${isWithWorker} and e.lease_owner = $1`,
    [runnerId, ids, tenant, pool, workerId],
  );
  return new Set(rows.map(({ id }) => id));
}

/** Gives executions that nothing was done with to other runners; gives back the ids of those that were still to be given. */
export async function handOverExecutions(
  db: Db,
  runnerId: string,
  moves: readonly (Lease & { readonly runnerId: string })[],
): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "hand_over_executions",
    text: `with move as (
             select e.id, m.runner_id
               from execution e join unnest($2::uuid[], $3::bigint[], $4::uuid[]) as m(id, fence, runner_id) using (id, fence)
              where e.lease_owner = $1 and e.state = 'ASSIGNED' order by e.id for no key update of e
           )
           update execution e set lease_owner = move.runner_id, fence = e.fence + 1
             from move where e.id = move.id
           returning e.id`,
    values: [runnerId, moves.map(({ id }) => id), moves.map(({ fence }) => fence), moves.map((move) => move.runnerId)],
  });
  return rows.map(({ id }) => id);
}

async function takeOver(db: Db, which: string, values: unknown[]): Promise<readonly TakenOver[]> {
  const { rows } = await db.query<TakenOverRow>(
    `with orphan as (${which})
     update execution e set lease_owner = $1, fence = e.fence + 1
       from orphan where e.id = orphan.id
     returning ${columns}, e.tenant, e.job_id, e.step, e.attempt, e.provider_id, e.provider_name, e.kind, e.endpoint, e.spec,
               e.traceparent, extract(epoch from clock_timestamp() - e.create_time) * 1000 as age_ms,
               extract(epoch from clock_timestamp() - e.start_time) * 1000 as running_ms`,
    values,
  );
  return rows.map(takenOverFromRow);
}

interface TakenOverRow extends ExecutionRow {
  readonly tenant: string;
  readonly job_id: string;
  readonly step: string;
  readonly attempt: number;
  readonly provider_id: string;
  readonly provider_name: string;
  readonly kind: ProviderKind;
  readonly endpoint: string;
  readonly spec: unknown;
  readonly traceparent: string | null;
  readonly age_ms: number;
  readonly running_ms: number | null;
}

function takenOverFromRow(row: TakenOverRow): TakenOver {
  return {
    assignment: {
      id: row.id,
      tenant: row.tenant,
      jobId: row.job_id,
      step: row.step,
      attempt: row.attempt,
      providerId: row.provider_id,
      providerName: row.provider_name,
      kind: row.kind,
      endpoint: row.endpoint,
      spec: StepSpec.fromJSON(row.spec),
      traceparent: row.traceparent,
    },
    execution: executionFromRow(row),
    ageMs: Number(row.age_ms),
    runningMs: row.running_ms === null ? null : Number(row.running_ms),
  };
}
