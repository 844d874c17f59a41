/** What users read of jobs. Moving them is in jobStore.ts. */
import { type Filter, type FilterFields, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import { Reason } from "@capstan/proto/capstan/job/v1/job.ts";
import type { JobState } from "./job.ts";
import { type ItemCountsView, itemCountsOf, type StepView, stepAsJson } from "./stepQueries.ts";

/** A job as it is shown. Times of steps come as ISO text, because they are aggregated as JSON. */
export interface JobView {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly spec: unknown;
  readonly state: JobState;
  readonly reason: string;
  readonly message: string;
  readonly stateTime: Date;
  readonly createTime: Date;
  readonly startTime: Date | null;
  readonly endTime: Date | null;
  readonly deadlineTime: Date | null;
  readonly result: unknown;
  readonly retryOf: string | null;
  readonly idempotencyKey: string | null;
  readonly sequence: number;
  readonly template: string | null;
  readonly templateVersion: number | null;
  readonly scheduleId: string | null;
  readonly rerunOf: string | null;
  readonly parentJobId: string | null;
  readonly parentStep: string | null;
  readonly pauseTime: Date | null;
  /** Those of the spec, without the items. */
  readonly steps: readonly StepView[];
  /** Null if there are none. */
  readonly items: ItemCountsView | null;
}

const columns = `
  j.id, j.tenant, j.name, j.spec, j.state, j.reason, j.message, j.state_time as "stateTime", j.create_time as "createTime",
  j.start_time as "startTime", j.end_time as "endTime", j.deadline_time as "deadlineTime", j.result,
  j.retry_of as "retryOf", j.idempotency_key as "idempotencyKey", j.sequence,
  j.template, j.template_version as "templateVersion", j.schedule_id as "scheduleId",
  j.rerun_of as "rerunOf", j.parent_job_id as "parentJobId", j.parent_step as "parentStep", j.pause_time as "pauseTime",
  (select json_agg(${stepAsJson("case when not size.is_too_long then s.result end")} order by s.position)
     from job.step s
    where s.job_id = j.id and s.parent is null) as steps,
  case when j.is_workflow then ${itemCountsOf("j.id")} end as items`;

/** What the steps of a workflow gave back may be hundreds of megabytes: too long if it is more than $3 bytes. Compressed is told cheaply. */
const sizes = `
  cross join lateral (
    select case when not j.is_workflow then false
                when (select sum(pg_column_size(r.result)) from job.step r where r.job_id = j.id and r.parent is null) > $3::int then true
                else coalesce((select sum(octet_length(r.result::text)) from job.step r where r.job_id = j.id and r.parent is null), 0) > $3::int
           end as is_too_long
    offset 0) size`;

/** Results of steps that a job is shown with, in all. */
export const maxShownResultBytes = 1024 * 1024;

/** Jobs by id. Those of several steps come with what these gave back only if that is no longer than this as JSON, in all. */
export async function getJobs(
  db: Db,
  tenant: string,
  ids: readonly string[],
  maxResultBytes = maxShownResultBytes,
): Promise<Map<string, JobView>> {
  const { rows } = await db.query<JobView>({
    name: "get_jobs",
    text: `select ${columns} from job.job j ${sizes} where j.tenant = $1 and j.id = any($2::uuid[])`,
    values: [tenant, ids, maxResultBytes],
  });
  return new Map(rows.map((row) => [row.id, row]));
}

const liveStates = ["PENDING", "RUNNING", "CANCELLING"] as const satisfies readonly JobState[];

/** How many jobs of all tenants are in each state that is not the end; 0 for a state that none is in. */
export async function countLiveJobs(db: Db): Promise<readonly { state: JobState; count: number }[]> {
  const { rows } = await db.query<{ state: JobState; count: number }>({
    name: "count_live_jobs",
    text: "select state, count(*) as count from job.job where end_time is null group by state",
  });
  return liveStates.map((state) => rows.find((row) => row.state === state) ?? { state, count: 0 });
}

const reasons = Object.keys(Reason).flatMap((name) => (name === "UNRECOGNIZED" ? [] : name.replace("REASON_", "")));

export const filterFields: FilterFields = {
  state: {
    type: "enum",
    values: ["PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT"],
  },
  reason: { type: "enum", values: reasons },
  name: { type: "string" },
  source: { type: "string" },
  retry_of: { type: "id" },
  rerun_of: { type: "id" },
  parent_job_id: { type: "id" },
  waits_for: { type: "enum", values: ["APPROVAL", "AWAITING_SIGNAL", "SLEEPING"] },
  template: { type: "string" },
  template_version: { type: "number" },
  schedule_id: { type: "id" },
  labels: { type: "labels" },
  create_time: { type: "time" },
};

const filterColumns = {
  state: "j.state",
  reason: "j.reason",
  name: "j.name",
  source: "j.source",
  retry_of: "j.retry_of",
  rerun_of: "j.rerun_of",
  parent_job_id: "j.parent_job_id",
  // By the index of the few steps that wait, not by looking at those of each job.
  waits_for: (operator: string, reason: string) => {
    const waiting = `(select job_id from job.step where state = 'SUSPENDED' and reason = ${reason})`;
    return `j.id ${operator === "=" ? "in" : "not in"} ${waiting}`;
  },
  template: "j.template",
  template_version: "j.template_version",
  schedule_id: "j.schedule_id",
  labels: "j.labels",
  create_time: "j.create_time",
};

// Microseconds: a Date would cut them off.
const createTimeText = `to_char(j.create_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** The orders a list may have; each ends in the id, so that it is total and a page can go on exactly where one ended. */
const orders = {
  "create_time desc": {
    key: createTimeText,
    sql: "j.create_time desc, j.id desc",
    after: "(j.create_time, j.id) < ($1::timestamptz, $2::uuid)",
  },
  create_time: {
    key: createTimeText,
    sql: "j.create_time, j.id",
    after: "(j.create_time, j.id) > ($1::timestamptz, $2::uuid)",
  },
  name: { key: "j.name", sql: "j.name, j.id", after: "(j.name, j.id) > ($1::text, $2::uuid)" },
  "name desc": { key: "j.name", sql: "j.name desc, j.id desc", after: "(j.name, j.id) < ($1::text, $2::uuid)" },
} as const;

type JobOrder = keyof typeof orders;
export const jobOrders = Object.keys(orders) as readonly JobOrder[];

interface JobListQuery {
  readonly tenant: string;
  readonly filter: Filter | null;
  readonly order: JobOrder;
  readonly cursor: readonly string[] | null;
  readonly limit: number;
}

/** A job in a list, not read yet. */
interface ListedJob {
  readonly id: string;
  /** What it is sorted by, as text; with the id it says where the next page begins. */
  readonly key: string;
  /** Of its spec and results, which is nearly all of it. */
  readonly bytes: number;
}

/** Only where the jobs are and how large: a page of them could be half a gigabyte. */
export async function listJobs(
  db: Db,
  { tenant, filter, order, cursor, limit }: JobListQuery,
): Promise<readonly ListedJob[]> {
  const { key, sql, after } = orders[order];
  // Not all that is in the cursor: it is a user's, and what follows has to keep its place.
  const values: unknown[] = [cursor?.[0] ?? null, cursor?.[1] ?? null, tenant, limit];
  const { rows } = await db.query<ListedJob>({
    text: `select j.id, ${key} as key, octet_length(j.spec::text) + 2 * coalesce(octet_length(j.result::text), 0) as bytes
             from job.job j
            where j.tenant = $3
              and ${cursor === null ? "$1::text is null and $2::text is null" : after}
              and ${filterToSql(filter, filterColumns, values)}
            order by ${sql}
            limit $4`,
    values,
  });
  return rows;
}
