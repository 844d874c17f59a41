/** The statements behind the public reads of executions. */
import { type Filter, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import type { ExecutionProgress } from "@capstan/proto/capstan/execution/v1/execution.ts";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Execution } from "./execution.ts";
import { columns, type ExecutionRow, executionFromRow } from "./executionStore.ts";
import { type LogRow, logFromRow } from "./logStore.ts";
import type { LogTotals } from "./logTotals.ts";

/** An execution as it is shown. */
export interface ShownExecution {
  readonly execution: Execution;
  readonly tenant: string;
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
  /** Empty when it was stopped before it was assigned. */
  readonly providerId: string;
  readonly providerName: string;
  /** Null in lists, and when it was stopped before it was assigned. */
  readonly spec: StepSpec | null;
  readonly createTime: Date;
  readonly startTime: Date | null;
  readonly endTime: Date | null;
  readonly log: LogTotals & { readonly isSealed: boolean };
  /** Null if it never said how far it is. */
  readonly progress: ExecutionProgress | null;
  /** Where a list goes on after it. */
  readonly cursor: readonly string[];
}

const shownColumns = `${columns}, e.tenant, e.job_id, e.step, e.attempt, e.provider_id, e.provider_name, e.create_time, e.end_time,
  e.end_time is not null as is_sealed, e.stdout_bytes, e.stderr_bytes, e.log_lines, e.log_dropped_bytes, e.log_sha256,
  e.log_has_gap, e.progress, e.create_time::text as cursor_time`;

/** Null when the tenant has no such execution. */
export async function getExecution(db: Db, tenant: string, id: string): Promise<ShownExecution | null> {
  const { rows } = await db.query<ShownRow>({
    name: "get_execution",
    text: `select ${shownColumns}, e.spec from execution e where e.id = $1 and e.tenant = $2`,
    values: [id, tenant],
  });
  return rows[0] === undefined ? null : shownFromRow(rows[0]);
}

export interface ListQuery {
  readonly tenant: string;
  readonly filter: Filter | null;
  /** Of the last execution of the page before; null for the first page. */
  readonly cursor: readonly string[] | null;
  readonly limit: number;
}

/** What `filter` may be about, in proto names; each is our own SQL. */
const filterColumns = {
  job_id: "e.job_id::text",
  step: "e.step",
  attempt: "e.attempt",
  state: "e.state",
  provider_id: "e.provider_id::text",
  provider_name: "e.provider_name",
  create_time: "e.create_time",
} as const;

/** Newest first. */
export async function listExecutions(db: Db, query: ListQuery): Promise<readonly ShownExecution[]> {
  const values: unknown[] = [query.tenant, query.limit];
  const matches = filterToSql(query.filter, filterColumns, values);
  const [time, id] = query.cursor ?? [];
  const after =
    query.cursor === null
      ? ""
      : `and (e.create_time, e.id) < ($${values.push(time)}::timestamptz, $${values.push(id)}::uuid)`;
  const { rows } = await db.query<ShownRow>(
    `select ${shownColumns} from execution e
      where e.tenant = $1 and (${matches}) ${after}
      order by e.create_time desc, e.id desc limit $2`,
    values,
  );
  return rows.map(shownFromRow);
}

interface ShownRow extends ExecutionRow, LogRow {
  readonly tenant: string;
  readonly job_id: string;
  readonly step: string;
  readonly attempt: number;
  readonly provider_id: string | null;
  readonly provider_name: string;
  readonly spec?: unknown;
  readonly create_time: Date;
  readonly end_time: Date | null;
  readonly progress: { readonly fraction?: number; readonly message: string } | null;
  readonly cursor_time: string;
}

function shownFromRow(row: ShownRow): ShownExecution {
  return {
    execution: executionFromRow(row),
    tenant: row.tenant,
    jobId: row.job_id,
    step: row.step,
    attempt: row.attempt,
    providerId: row.provider_id ?? "",
    providerName: row.provider_name,
    spec: row.spec === undefined || row.spec === null ? null : StepSpec.fromJSON(row.spec),
    createTime: row.create_time,
    startTime: row.start_time,
    endTime: row.end_time,
    log: logFromRow(row),
    progress: row.progress === null ? null : { fraction: row.progress.fraction, message: row.progress.message },
    cursor: [row.cursor_time, row.id],
  };
}
