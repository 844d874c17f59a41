/** What the clock finds: read by index, so that what is not due costs nothing. */
import type { Db } from "@capstan/postgres";

/** What the clock asks for: jobs past their deadline, jobs with a step that is due, and when the next will be. */
export interface DueJobs {
  readonly overdue: readonly string[];
  readonly due: readonly string[];
}

/** With the clock as `(select …)`, which is read once: an index cannot be entered at a time that may change from row to row. */
export async function findDueJobs(db: Db, limit: number): Promise<DueJobs> {
  const { rows } = await db.query<{ id: string; is_overdue: boolean }>({
    name: "find_due_jobs",
    text: `(select id, true as is_overdue
              from job.job
             where deadline_time <= (select clock_timestamp()) and state in ('PENDING', 'RUNNING') and ending is null
             order by deadline_time
             limit $1)
           union all
           (select distinct job_id, false
              from (select job_id from job.step where due_time <= (select clock_timestamp()) order by due_time limit $1) due)`,
    values: [limit],
  });
  return {
    overdue: rows.filter((row) => row.is_overdue).map(({ id }) => id),
    due: rows.filter((row) => !row.is_overdue).map(({ id }) => id),
  };
}
