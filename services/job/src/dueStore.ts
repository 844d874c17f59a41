/** What the clock finds: read by index, so that what is not due costs nothing. */
import type { Db } from "@capstan/postgres";

/** What the clock asks for: jobs past their deadline, jobs with a step that is due, and whether errands are left between jobs. */
interface DueJobs {
  readonly overdue: readonly string[];
  readonly due: readonly string[];
  readonly hasErrands: boolean;
}

/** With the clock as `(select …)`, which is read once: an index cannot be entered at a time that may change from row to row. */
export async function findDueJobs(db: Db, limit: number): Promise<DueJobs> {
  const { rows } = await db.query<{ id: string; kind: "OVERDUE" | "DUE" | "ERRAND" }>({
    name: "find_due_jobs",
    text: `(select id, 'OVERDUE' as kind
              from job.job
             where deadline_time <= (select clock_timestamp()) and state in ('PENDING', 'RUNNING') and ending is null
             order by deadline_time
             limit $1)
           union all
           (select distinct job_id, 'DUE'
              from (select job_id from job.step
                     where due_time <= (select clock_timestamp())
                       -- What comes due while its job is paused is due when that goes on.
                       and job_id not in (select id from job.job where pause_time is not null)
                     order by due_time
                     limit $1) due)
           union all
           (select child_job_id, 'ERRAND' from job.errand limit 1)`,
    values: [limit],
  });
  return {
    overdue: rows.filter(({ kind }) => kind === "OVERDUE").map(({ id }) => id),
    due: rows.filter(({ kind }) => kind === "DUE").map(({ id }) => id),
    hasErrands: rows.some(({ kind }) => kind === "ERRAND"),
  };
}
