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
  queue: { type: "string" },
  create_time: { type: "time" },
};

const filterColumns = { job_id: "job_id", step: "step", stage: "stage", queue: "queue", create_time: "create_time" };

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

/**
 * How many sagas are in each stage that is not the end; 0 for a stage that none is in. Of all tenants if none is given; of those that
 * wait and those that are parked, which may be many, no more than `most`, if that is. Each scrape asks it: every part is counted by an
 * index of its own, which whatever has ended is not in.
 */
export async function countLiveSagas(
  db: Db,
  { tenant = null, most = null }: { readonly tenant?: string | null; readonly most?: number | null } = {},
): Promise<readonly { stage: Stage; count: number }[]> {
  const { rows } = await db.query<{ stage: Stage; count: number }>({
    name: "count_live_sagas",
    text: `select stage, count(*)::int as count
             from (
               (select stage from orchestrator.saga where stage = 'WAITING' and ($1::text is null or tenant = $1) limit $2)
               union all
               select stage from orchestrator.saga
                where stage in ('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING') and ($1::text is null or tenant = $1)
               union all
               (select stage from orchestrator.saga where stage = 'PARKED' and ($1::text is null or tenant = $1) limit $2)) live
            group by stage`,
    values: [tenant, most],
  });
  return liveStages.map((stage) => rows.find((row) => row.stage === stage) ?? { stage, count: 0 });
}

/**
 * The live stage that a filter asks for, in the words of the statement: an index of some stages serves no parameter. Not WAITING: of those
 * there may be so many that sorting them takes longer than to find the newest among all.
 */
function inStage(filter: Filter | null): string {
  const parts = filter?.type === "and" ? filter.filters : [filter];
  const asked = parts.flatMap((part) => {
    if (part?.type !== "compare" || part.field !== "stage" || part.operator !== "=") return [];
    return part.value.type === "string" ? [part.value.text] : [];
  });
  const stage = liveStages.find((live) => live !== "WAITING" && asked.includes(live));
  return stage === undefined ? "true" : `stage = '${stage}'`;
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
              and ${inStage(query.filter)} and ${filterToSql(query.filter, filterColumns, values)}
            order by create_time desc, id desc
            limit $2`,
    values,
  });
  return rows;
}

export interface SagaFactRow {
  readonly sagaId: string;
  readonly sequence: number;
  readonly id: string;
  readonly event: string;
  readonly time: Date;
  /** Microseconds, for cursors. */
  readonly timeText: string;
  /** Of the event's message. */
  readonly json: string;
}

/** The facts of all sagas of a job, oldest first. */
export async function listSagaFacts(
  db: Db,
  query: { tenant: string; jobId: string; cursor: readonly string[] | null; limit: number },
): Promise<readonly SagaFactRow[]> {
  const [time = null, sagaId = null, sequence = null] = query.cursor ?? [];
  const { rows } = await db.query<SagaFactRow>({
    name: "list_saga_facts",
    text: `select e.aggregate_id as "sagaId", e.sequence, e.id, e.event, e.time, e.data::text as json,
                  to_char(e.time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "timeText"
             from orchestrator.saga s
             join orchestrator.event e on e.aggregate_id = s.id
            where s.job_id = $1 and s.tenant = $2
              and ($3::timestamptz is null or (e.time, e.aggregate_id, e.sequence) > ($3, $4::uuid, $5::int))
            order by e.time, e.aggregate_id, e.sequence
            limit $6`,
    values: [query.jobId, query.tenant, time, sagaId, sequence, query.limit],
  });
  return rows;
}

/** A live saga as somebody who asks after it needs it. */
export interface Standing {
  readonly id: string;
  /** Since when it is in its stage, or waits for its reason. */
  readonly since: Date;
  /** Of one that waits: how many go before it in its list, at most 10,000. */
  readonly ahead: number;
  /** Of one that waits: what the first of its list waits for. */
  readonly headReason: string;
  readonly headMessage: string;
}

const maxAhead = 10_000;

export async function readStandings(db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, Standing>> {
  const { rows } = await db.query<Standing>({
    text: `select s.id, coalesce(s.reason_time, case when s.stage = 'WAITING' then s.ready_time else s.stage_time end) as since,
                  ahead.count as ahead, coalesce(head.reason, '') as "headReason", coalesce(head.message, '') as "headMessage"
             from orchestrator.saga s
             cross join lateral (
               select count(*)::int as count
                 from (select 1
                         from orchestrator.saga a
                        where s.stage = 'WAITING' and a.stage = 'WAITING' and a.tenant = s.tenant and a.queue = s.queue
                          and a.concurrency_key = s.concurrency_key and a.placement_key = s.placement_key
                          and a.order_time <= s.order_time
                          and (a.order_time, coalesce(a.deadline_time, 'infinity'), a.position)
                              < (s.order_time, coalesce(s.deadline_time, 'infinity'), s.position)
                        limit $2) before) ahead
             left join lateral (
               select a.reason, a.message
                 from orchestrator.saga a
                where s.stage = 'WAITING' and a.stage = 'WAITING' and a.tenant = s.tenant and a.queue = s.queue
                  and a.concurrency_key = s.concurrency_key and a.placement_key = s.placement_key
                order by a.order_time, a.deadline_time, a.position
                limit 1) head on true
            where s.id = any($1::uuid[])`,
    values: [ids, maxAhead],
  });
  return new Map(rows.map((row) => [row.id, row]));
}

/** Whose attempts run on providers, by provider and job name, the most first. For people: it reads all that is placed. */
export async function countHolders(
  db: Db,
  tenant: string,
  providers: readonly string[],
): Promise<readonly { readonly provider: string; readonly jobName: string; readonly count: number }[]> {
  const { rows } = await db.query<{ provider: string; jobName: string; count: number }>({
    text: `select placed ->> 'providerName' as provider, job_name as "jobName", count(*)::int as count
             from orchestrator.saga
            where stage in ('RESERVED', 'STARTED', 'COMPENSATING') and tenant = $1 and placed ->> 'providerName' = any($2::text[])
            group by 1, 2
            order by 3 desc, 1, 2
            limit 20`,
    values: [tenant, providers],
  });
  return rows;
}
