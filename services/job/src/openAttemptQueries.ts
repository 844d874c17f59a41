/** What the orchestrator compares its sagas with: attempts that are open, and jobs that are over. */
import type { Db } from "@capstan/postgres";

/** An attempt that is READY, or RUNNING on a provider. */
export interface OpenAttempt {
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
  readonly tenant: string;
}

/** The live job after which a page begins. */
export interface LiveJob {
  readonly state: string;
  readonly id: string;
}

/** Comes before every live job. */
const beforeFirst: LiveJob = { state: "", id: "00000000-0000-0000-0000-000000000000" };

export interface OpenAttemptPage {
  readonly attempts: readonly OpenAttempt[];
  /** Where the next page begins; null if there is none. */
  readonly last: LiveJob | null;
}

/** Jobs of a page, and attempts: more than the 1,000 steps and 10,000 items of one job. */
const pageLimit = 12_000;

/** Those of steps that have been in their state for `minAgeMs`, a page of live jobs at a time, whatever has ended beside them. */
export async function listOpenAttempts(
  db: Db,
  { minAgeMs, after, limit = pageLimit }: { minAgeMs: number; after: LiveJob | null; limit?: number },
): Promise<OpenAttemptPage> {
  const { state, id } = after ?? beforeFirst;
  const { rows } = await db.query<LiveJob & { tenant: string; step: string | null; attempt: number }>({
    name: "list_open_attempts",
    // A job without any has a row too, so that the page says how far it was read.
    text: `select live.state, live.id, live.tenant, s.name as step, s.attempt
             from (select state, id, tenant
                     from job.job
                    where end_time is null and (state, id) > ($2, $3::uuid)
                    order by state, id
                    limit $4) live
             left join job.step s on s.job_id = live.id
                                 and (s.state = 'READY' or s.state = 'RUNNING' and s.execution_id is not null)
                                 and s.state_time < clock_timestamp() - $1 * interval '1 millisecond'
            order by live.state, live.id
            limit $4`,
    values: [minAgeMs, state, id, limit],
  });
  const isFull = rows.length === limit;
  // Of the last job there may be more; it begins the next page.
  const whole = isFull
    ? rows.slice(
        0,
        rows.findIndex((row) => row.id === rows.at(-1)?.id),
      )
    : rows;
  const kept = whole.length === 0 ? rows : whole;
  return {
    attempts: kept.flatMap(({ id: jobId, step, attempt, tenant }) =>
      step === null ? [] : [{ jobId, step, attempt, tenant }],
    ),
    last: isFull ? (kept.at(-1) ?? null) : null,
  };
}

interface EndedJobs {
  readonly endedIds: string[];
  readonly unknownIds: string[];
  readonly cancellingIds: string[];
}

/** Which of these have ended, are not there, or are being cancelled. */
export async function findEndedJobs(db: Db, ids: readonly string[]): Promise<EndedJobs> {
  const { rows } = await db.query<{ id: string; state: "ended" | "unknown" | "cancelling" }>({
    name: "find_ended_jobs",
    text: `select asked.id,
                  case when j.id is null then 'unknown' when j.end_time is null then 'cancelling' else 'ended' end as state
             from unnest($1::uuid[]) as asked (id) left join job.job j on j.id = asked.id
            where j.id is null or j.end_time is not null or j.state = 'CANCELLING'`,
    values: [ids],
  });
  const those = (state: string) => rows.filter((row) => row.state === state).map(({ id }) => id);
  return { endedIds: those("ended"), unknownIds: those("unknown"), cancellingIds: those("cancelling") };
}
