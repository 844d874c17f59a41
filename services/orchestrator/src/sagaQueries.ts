/** What operators read of sagas. */
import { type Filter, type FilterFields, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import type { Stage } from "./runJob.ts";

export interface SagaView {
  readonly id: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
  readonly stage: Stage;
  readonly reason: string;
  readonly message: string;
  readonly providerName: string;
  readonly failures: number;
  readonly queue: string;
  readonly concurrencyKey: string;
  readonly stageTime: Date;
  readonly wakeupTime: Date | null;
  readonly createTime: Date;
  /** Microseconds, for cursors. */
  readonly createTimeText: string;
}

const columns = `
  id, tenant, job_id as "jobId", step, attempt, stage, reason, message, coalesce(placed ->> 'providerName', '') as "providerName",
  failures, queue, concurrency_key as "concurrencyKey",
  stage_time as "stageTime", wakeup_time as "wakeupTime", create_time as "createTime",
  to_char(create_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "createTimeText"`;

export const filterFields: FilterFields = {
  job_id: { type: "id" },
  step: { type: "string" },
  stage: {
    type: "enum",
    values: ["WAITING", "RESERVED", "STARTED", "SETTLING", "DONE", "COMPENSATING", "COMPENSATED", "PARKED"],
  },
  create_time: { type: "time" },
};

const filterColumns = { job_id: "job_id", step: "step", stage: "stage", create_time: "create_time" };

export async function getSaga(db: Db, tenant: string, id: string): Promise<SagaView | null> {
  const { rows } = await db.query<SagaView>({
    text: `select ${columns} from orchestrator.saga where tenant = $1 and id = $2`,
    values: [tenant, id],
  });
  return rows[0] ?? null;
}

const liveStages = [
  "WAITING",
  "RESERVED",
  "STARTED",
  "SETTLING",
  "COMPENSATING",
  "PARKED",
] as const satisfies readonly Stage[];

/** How many sagas of all tenants are in each stage that is not the end; 0 for a stage that none is in. */
export async function countLiveSagas(db: Db): Promise<readonly { stage: Stage; count: number }[]> {
  const { rows } = await db.query<{ stage: Stage; count: number }>({
    name: "count_live_sagas",
    text: "select stage, count(*) as count from orchestrator.saga where stage not in ('DONE', 'COMPENSATED') group by stage",
  });
  return liveStages.map((stage) => rows.find((row) => row.stage === stage) ?? { stage, count: 0 });
}

/** Newest first. */
export async function listSagas(
  db: Db,
  query: { tenant: string; filter: Filter | null; cursor: readonly string[] | null; limit: number },
): Promise<readonly SagaView[]> {
  const values: unknown[] = [query.tenant, query.limit, query.cursor?.[0] ?? null, query.cursor?.[1] ?? null];
  const { rows } = await db.query<SagaView>({
    text: `select ${columns}
             from orchestrator.saga
            where tenant = $1
              and ($3::timestamptz is null or (create_time, id) < ($3::timestamptz, $4::uuid))
              and ${filterToSql(query.filter, filterColumns, values)}
            order by create_time desc, id desc
            limit $2`,
    values,
  });
  return rows;
}
