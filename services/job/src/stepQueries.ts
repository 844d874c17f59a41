/** What users read of the steps of a job and of their items. Moving them is in jobStore.ts. */
import type { Db } from "@capstan/postgres";
import type { ItemCounts } from "@capstan/proto/capstan/job/v1/job.ts";
import type { StepState } from "./job.ts";

/** How many items of a step stand where, by the name of the step. */
export type ItemCountsView = Readonly<Record<string, ItemCounts>>;

/** A step as it is shown. Times come as ISO text, because they are aggregated as JSON. */
export interface StepView {
  readonly name: string;
  readonly state: StepState;
  readonly reason: string;
  readonly message: string;
  readonly stateTime: string;
  readonly attempt: number;
  readonly executionId: string | null;
  readonly dueTime: string | null;
  readonly exitCode: number | null;
  readonly result: unknown;
  readonly startTime: string | null;
  readonly endTime: string | null;
  readonly providerName: string;
  readonly childJobId: string | null;
}

/** How many items of each step stand where, as `json_object_agg` by the name of their step; `job_id` and `condition` say of which. */
export function itemCountsOf(jobId: string, condition = "true"): string {
  return `(select json_object_agg(counted.parent, counted.counts)
             from (select i.parent, json_build_object(
                            'total', count(*),
                            'waiting', count(*) filter (where i.state in ('BLOCKED', 'READY', 'BACKOFF', 'SUSPENDED')),
                            'running', count(*) filter (where i.state = 'RUNNING'),
                            'succeeded', count(*) filter (where i.state in ('SUCCEEDED', 'SKIPPED')),
                            'failed', count(*) filter (where i.state in ('FAILED', 'CANCELLED', 'TIMED_OUT'))) as counts
                     from job.step i
                    where i.job_id = ${jobId} and i.parent is not null and ${condition}
                    group by i.parent) counted)`;
}

/** A step of the table `s` as JSON, as a `StepView`; `result` is an expression for what it gave back. */
export function stepAsJson(result: string): string {
  return `json_build_object(
            'name', s.name, 'state', s.state, 'reason', s.reason, 'message', s.message, 'stateTime', s.state_time,
            'attempt', s.attempt, 'executionId', s.execution_id, 'dueTime', s.due_time, 'exitCode', s.exit_code,
            'result', ${result}, 'startTime', s.start_time, 'endTime', s.end_time, 'providerName', s.provider_name,
            'childJobId', s.child_job_id)`;
}

/** The spec of a job as JSON; undefined if there is no such job. */
export async function findSpec(db: Db, tenant: string, jobId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ spec: string }>({
    name: "find_spec",
    text: "select spec::text as spec from job.job where tenant = $1 and id = $2::uuid",
    values: [tenant, jobId],
  });
  return rows[0]?.spec;
}

/** A step in a list, not read yet. */
interface ListedStep {
  readonly name: string;
  readonly position: number;
  /** -1 for a step of the spec, which comes before its items. */
  readonly itemIndex: number;
  readonly bytes: number;
}

interface StepListQuery {
  readonly jobId: string;
  /** Only its items; empty for every step and item. */
  readonly parent: string;
  /** Position and index of the last of the page before. */
  readonly cursor: readonly [position: number, itemIndex: number];
  readonly limit: number;
}

/** Steps in the order of the spec, each with its items behind it. */
export async function listSteps(
  db: Db,
  { jobId, parent, cursor, limit }: StepListQuery,
): Promise<readonly ListedStep[]> {
  const { rows } = await db.query<ListedStep>({
    name: "list_steps",
    text: `select name, position, coalesce(item_index, -1) as "itemIndex", 512 + coalesce(octet_length(result::text), 0) as bytes
             from job.step
            where job_id = $1::uuid and ($2 = '' or parent = $2) and (position, coalesce(item_index, -1)) > ($3::int, $4::int)
            order by position, coalesce(item_index, -1)
            limit $5`,
    values: [jobId, parent, ...cursor, limit],
  });
  return rows;
}

/** Steps by name with the counts of their items, and which steps of the job have not ended. */
export async function readSteps(
  db: Db,
  jobId: string,
  names: readonly string[],
): Promise<{
  readonly steps: ReadonlyMap<string, StepView>;
  readonly items: ItemCountsView;
  readonly open: ReadonlySet<string>;
}> {
  const { rows } = await db.query<{ steps: StepView[] | null; items: ItemCountsView | null; open: string[] | null }>({
    name: "read_listed_steps",
    text: `select (select json_agg(${stepAsJson("s.result")})
                     from job.step s
                    where s.job_id = $1::uuid and s.name = any($2::text[])) as steps,
                  ${itemCountsOf("$1::uuid", "i.parent = any($2::text[])")} as items,
                  (select array_agg(name) from job.step where job_id = $1::uuid and parent is null and end_time is null) as open`,
    values: [jobId, names],
  });
  const [row] = rows;
  return {
    steps: new Map((row?.steps ?? []).map((step) => [step.name, step])),
    items: row?.items ?? {},
    open: new Set(row?.open ?? []),
  };
}
