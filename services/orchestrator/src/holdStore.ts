/** The statement that holds back what waits of paused jobs. */
import type { Db } from "@capstan/postgres";
import type { LaneKey } from "./shareTurns.ts";

/** That a job was paused, or goes on, at a time of its own context. */
export interface Hold {
  readonly jobId: string;
  readonly isHeld: boolean;
  readonly time: Date;
}

/**
 * Holds back what waits of these jobs, or lets it go; gives back the lists in which something may be placed again. A fact that comes again
 * late changes nothing: neither what a later one has said, nor what became READY after it. The version stays: whoever has claimed one goes
 * on, and it is held if it finds no place.
 */
export async function holdSagas(db: Db, holds: readonly Hold[]): Promise<readonly LaneKey[]> {
  const { rows } = await db.query<{
    tenant: string;
    queue: string;
    concurrency_key: string;
    placement_key: string;
    is_held: boolean;
  }>({
    name: "hold_sagas",
    text: `update orchestrator.saga s
              set is_held = hold.is_held, hold_time = hold.time, message = '', reason_time = clock_timestamp(),
                  reason = case when hold.is_held then 'JOB_PAUSED' else 'QUEUED' end
             from unnest($1::uuid[], $2::bool[], $3::timestamptz[]) as hold (job_id, is_held, time)
            where s.job_id = hold.job_id and s.stage = 'WAITING' and s.ready_time <= hold.time and s.hold_time < hold.time
           returning s.tenant, s.queue, s.concurrency_key, s.placement_key, s.is_held`,
    values: [holds.map(({ jobId }) => jobId), holds.map(({ isHeld }) => isHeld), holds.map(({ time }) => time)],
  });
  return rows.flatMap(({ tenant, queue, concurrency_key: key, placement_key: placementKey, is_held: isHeld }) =>
    isHeld ? [] : [{ tenant, queue, key, placementKey }],
  );
}
