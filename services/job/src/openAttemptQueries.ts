/** What the orchestrator compares its sagas with: attempts that are open, and jobs that are over. */
import type { Db } from "@capstan/postgres";

/** An attempt that is READY, or RUNNING on a provider. */
export interface OpenAttempt {
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
  readonly tenant: string;
}

/** Jobs in each state that are looked at; those that stand still come to the front when others have gone on. */
const jobsOfAState = 10_000;

/** Those of steps that have been in their state for `minAgeMs`. Reads only what lives. */
export async function listOpenAttempts(db: Db, minAgeMs: number): Promise<readonly OpenAttempt[]> {
  const { rows } = await db.query<{ job_id: string; step: string; attempt: number; tenant: string }>({
    name: "list_open_attempts",
    text: `with live as (
             ${["PENDING", "RUNNING", "CANCELLING"]
               .map(
                 (state) =>
                   `(select id, tenant from job.job where state = '${state}' and end_time is null limit ${jobsOfAState})`,
               )
               .join(" union all ")}
           )
           select s.job_id, s.name as step, s.attempt, live.tenant
             from live join job.step s on s.job_id = live.id
            where (s.state = 'READY' or s.state = 'RUNNING' and s.execution_id is not null)
              and s.state_time < clock_timestamp() - $1 * interval '1 millisecond'`,
    values: [minAgeMs],
  });
  return rows.map(({ job_id: jobId, ...row }) => ({ ...row, jobId }));
}

export interface EndedJobs {
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
