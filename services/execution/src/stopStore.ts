/** The statements that ask executions to stop. They are the caller's, not the holder's: guarded by state, not by fence. */
import type { Db } from "@capstan/postgres";
import type { Stop, StopReason } from "./execution.ts";

/** A request to stop, with what a mark needs should the execution not be known. */
export interface StopRequest extends Stop {
  readonly id: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
}

/** What a stop found: STOPPING when it is live; MARKED when it was not known; ENDED when there is nothing to stop. */
export type Stopped =
  | ({ readonly id: string; readonly outcome: "STOPPING" } & Stop)
  | { readonly id: string; readonly outcome: "MARKED" | "ENDED" };

/**
 * Moves what is live to STOPPING and leaves a mark for what is not known, for ids without repetition; answers with the stop that
 * holds, which is the first one. An id that is missing in the answer was recorded at the same moment: ask again.
 */
export async function stopExecutions(db: Db, stops: readonly StopRequest[]): Promise<readonly Stopped[]> {
  const { rows } = await db.query<Stopped>({
    name: "stop_executions",
    text: `with stop as (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::int[])
               as s(id, reason, message, tenant, job_id, step, attempt)
           ), known as materialized (
             -- In the order of ids, as every statement that locks many, so that no two wait for each other.
             select e.id, e.state, e.reason, e.message from execution e
              where e.id = any($1::uuid[]) order by e.id for no key update
           ), stopping as (
             update execution e set state = 'STOPPING', reason = stop.reason, message = stop.message
               from stop, known
              where e.id = stop.id and known.id = stop.id and known.state in ('ASSIGNED', 'STARTING', 'RUNNING')
             returning e.id, e.reason, e.message
           ), marked as (
             insert into execution (id, tenant, job_id, step, attempt, state, reason, message, end_time, sequence)
             select id, tenant, job_id, step, attempt, 'CANCELLED', reason, message, clock_timestamp(), 1
               from stop where not exists (select from known where known.id = stop.id)
                 on conflict (id) do nothing
             returning id, reason, message
           )
           select id, 'STOPPING' as outcome, reason, message from stopping
            union all
           select id, case state when 'STOPPING' then state else 'ENDED' end, reason, message
             from known where state not in ('ASSIGNED', 'STARTING', 'RUNNING')
            union all
           select id, 'MARKED', reason, message from marked`,
    values: [
      stops.map(({ id }) => id),
      stops.map(({ reason }) => reason),
      stops.map(({ message }) => message),
      stops.map(({ tenant }) => tenant),
      stops.map(({ jobId }) => jobId),
      stops.map(({ step }) => step),
      stops.map(({ attempt }) => attempt),
    ],
  });
  return rows;
}

/** The stops a runner was asked for while it looked elsewhere, by execution. */
export async function listStops(db: Db, runnerId: string): Promise<Map<string, Stop>> {
  const { rows } = await db.query<{ id: string; reason: StopReason; message: string }>({
    name: "list_stops",
    text: `select id, reason, message from execution where lease_owner = $1 and end_time is null and state = 'STOPPING'`,
    values: [runnerId],
  });
  return new Map(rows.map(({ id, reason, message }) => [id, { reason, message }]));
}

/** Which of the ids are marks of a stop that came before its start. */
export async function findMarks(db: Db, ids: readonly string[]): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    "select id from execution where id = any($1::uuid[]) and provider_id is null",
    [ids],
  );
  return new Set(rows.map(({ id }) => id));
}
