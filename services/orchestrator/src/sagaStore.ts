/** The statements that move sagas: each takes many, in one round trip. Reading for operators is in sagaQueries.ts. */
import type { Db } from "@capstan/postgres";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Outcome, Placed, Saga, Stage } from "./runJob.ts";

/** A saga as it begins: WAITING, never placed. */
export interface NewSaga {
  readonly id: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly jobName: string;
  readonly step: string;
  readonly attempt: number;
  readonly priority: number;
  readonly spec: StepSpec;
  readonly traceparent: string | null;
  readonly readyTime: Date;
  readonly placementKey: string;
  readonly queue: string;
  readonly concurrencyKey: string;
  readonly deadlineTime: Date | null;
  /** Its place in its list; see `orderTimeOf`. */
  readonly orderTime: Date;
}

/**
 * Writes sagas, and claims those that `isClaimed` says, as claiming WAITING ones does. Gives back those that were claimed; those that
 * are there already stay as they are.
 */
export async function insertSagas(
  db: Db,
  sagas: readonly NewSaga[],
  isClaimed: (saga: NewSaga) => boolean,
): Promise<readonly Saga[]> {
  const claimed = new Map(sagas.filter(isClaimed).map((saga) => [saga.id, saga]));
  const { rows } = await db.query<{ id: string }>({
    name: "insert_sagas",
    text: `insert into orchestrator.saga
             (id, tenant, job_id, job_name, step, attempt, priority, spec, traceparent, ready_time, placement_key, queue,
              concurrency_key, order_time, deadline_time, stage, reason, wakeup_time, claim_until)
           select id, tenant, job_id, job_name, step, attempt, priority, spec, traceparent, ready_time, placement_key, queue,
                  concurrency_key, order_time, deadline_time,
                  'WAITING', 'QUEUED', clock_timestamp(), clock_timestamp() + claim_seconds * interval '1 second'
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::int[], $7::int[], $8::json[],
                         $9::text[], $10::timestamptz[], $11::text[], $12::int[], $13::text[], $14::text[], $15::timestamptz[],
                         $16::timestamptz[])
               as saga (id, tenant, job_id, job_name, step, attempt, priority, spec, traceparent, ready_time, placement_key,
                        claim_seconds, queue, concurrency_key, order_time, deadline_time)
           on conflict do nothing
           returning id`,
    values: [
      sagas.map(({ id }) => id),
      sagas.map(({ tenant }) => tenant),
      sagas.map(({ jobId }) => jobId),
      sagas.map(({ jobName }) => jobName),
      sagas.map(({ step }) => step),
      sagas.map(({ attempt }) => attempt),
      sagas.map(({ priority }) => priority),
      sagas.map(({ spec }) => JSON.stringify(StepSpec.toJSON(spec))),
      sagas.map(({ traceparent }) => traceparent),
      sagas.map(({ readyTime }) => readyTime),
      sagas.map(({ placementKey }) => placementKey),
      sagas.map(({ id }) => (claimed.has(id) ? claimSeconds : 0)),
      sagas.map(({ queue }) => queue),
      sagas.map(({ concurrencyKey }) => concurrencyKey),
      sagas.map(({ orderTime }) => orderTime),
      sagas.map(({ deadlineTime }) => deadlineTime),
    ],
  });
  return rows.flatMap(({ id }) => claimed.get(id) ?? []).map(begun);
}

/** A saga as it was just written. */
function begun(saga: NewSaga): Saga {
  const nothing = {
    message: "",
    placed: null,
    outcome: null,
    failures: 0,
    parkedStage: null,
    sequence: 0,
    wakeInMs: 0,
  };
  return { ...saga, ...nothing, stage: "WAITING", reason: "QUEUED", version: 1 };
}

export interface SagaRow {
  id: string;
  tenant: string;
  job_id: string;
  job_name: string;
  step: string;
  attempt: number;
  priority: number;
  position: number;
  spec: unknown;
  traceparent: string | null;
  ready_time: Date;
  placement_key: string;
  queue: string;
  concurrency_key: string;
  deadline_time: Date | null;
  order_time: Date;
  stage: Stage;
  reason: string;
  message: string;
  placed: Placed | null;
  outcome: Outcome | null;
  failures: number;
  parked_stage: Stage | null;
  version: number;
  sequence: number;
}

export function sagaFromRow(row: SagaRow): Saga {
  return {
    id: row.id,
    tenant: row.tenant,
    jobId: row.job_id,
    jobName: row.job_name,
    step: row.step,
    attempt: row.attempt,
    priority: row.priority,
    spec: StepSpec.fromJSON(row.spec),
    traceparent: row.traceparent,
    readyTime: row.ready_time,
    placementKey: row.placement_key,
    queue: row.queue,
    concurrencyKey: row.concurrency_key,
    deadlineTime: row.deadline_time,
    orderTime: row.order_time,
    stage: row.stage,
    reason: row.reason,
    message: row.message,
    placed: row.placed,
    outcome: row.outcome,
    failures: row.failures,
    parkedStage: row.parked_stage,
    version: row.version,
    sequence: row.sequence,
    wakeInMs: 0,
  };
}

/**
 * How long a WAITING saga that was claimed is left alone: a little longer than the deadline of the call that asks for its capacity. If
 * its claimer died, it is claimed again after this.
 */
export const claimSeconds = 5;

/** The same of a saga in any other stage: the calls that are made for it may take 10 s. */
const wakeClaimSeconds = 12;

/** Sagas whose stage has stood still for too long, and when to look again. */
export interface Overdue {
  readonly sagas: readonly Saga[];
  /** Until the next that is not due yet; null if there is none. */
  readonly nextMs: number | null;
}

/** Claims sagas whose stage has stood still for too long. The clock is read once, so that the index can be entered at it. */
export async function claimOverdue(db: Db, limit: number): Promise<Overdue> {
  const { rows } = await db.query<(SagaRow | { readonly id: null }) & { readonly nextMs: number | null }>({
    name: "claim_overdue",
    text: `with clock as materialized (
             select clock_timestamp() as time
           ), due as (
             select id
               from orchestrator.saga
              where stage in ('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING') and wakeup_time <= (select time from clock)
              order by wakeup_time
              limit $1
                for update skip locked
           ), claimed as (
             update orchestrator.saga s
                set wakeup_time = clock_timestamp() + $2 * interval '1 second', version = s.version + 1
               from due
              where s.id = due.id
             returning s.*
           )
           select (select (extract(epoch from min(wakeup_time) - (select time from clock)) * 1000)::float8
                     from orchestrator.saga
                    where stage in ('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING')
                      and wakeup_time > (select time from clock)) as "nextMs",
                  claimed.*
             from clock left join claimed on true`,
    values: [limit, wakeClaimSeconds],
  });
  return {
    sagas: rows.flatMap((row) => (row.id === null ? [] : [sagaFromRow(row)])),
    nextMs: rows[0]?.nextMs ?? null,
  };
}

export async function loadSagas(db: Db, ids: readonly string[]): Promise<Map<string, Saga>> {
  const { rows } = await db.query<SagaRow>({
    name: "load_sagas",
    text: "select * from orchestrator.saga where id = any($1::uuid[])",
    values: [ids],
  });
  return new Map(rows.map((row) => [row.id, sagaFromRow(row)]));
}

/** The sagas of jobs that have not ended. */
export async function loadLiveSagasOfJobs(db: Db, jobIds: readonly string[]): Promise<readonly Saga[]> {
  const { rows } = await db.query<SagaRow>({
    name: "load_live_sagas_of_jobs",
    text: `select * from orchestrator.saga where job_id = any($1::uuid[]) and stage not in ('DONE', 'COMPENSATED')`,
    values: [jobIds],
  });
  return rows.map(sagaFromRow);
}

/** Saves sagas that still have the version that was read; gives back the ids that were saved. */
export async function saveSagas(db: Db, unordered: readonly Saga[]): Promise<Set<string>> {
  // In the order of ids, so that two saves of the same ones cannot deadlock.
  const sagas = unordered.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const { rows } = await db.query<{ id: string }>({
    name: "save_sagas",
    text: `update orchestrator.saga s
              set stage = change.stage, reason = change.reason, message = change.message,
                  placed = change.placed, outcome = change.outcome, failures = change.failures,
                  parked_stage = change.parked_stage, sequence = change.sequence, version = s.version + 1,
                  stage_time = case when s.stage = change.stage then s.stage_time else clock_timestamp() end,
                  claim_until = '-infinity',
                  is_counted = s.is_counted and (change.stage in ('RESERVED', 'STARTED', 'COMPENSATING')
                                                 or change.stage = 'PARKED' and change.placed is not null),
                  reason_time = case when change.stage <> 'WAITING' or s.reason = change.reason then s.reason_time
                                     else clock_timestamp() end,
                  wakeup_time = case when change.stage in ('DONE', 'COMPENSATED', 'PARKED') then null
                                     else clock_timestamp() + change.wake_in_ms * interval '1 millisecond' end
             from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::json[], $7::json[], $8::int[], $9::text[],
                         $10::float8[], $11::int[])
               as change (id, version, stage, reason, message, placed, outcome, failures, parked_stage, wake_in_ms,
                          sequence)
            where s.id = change.id and s.version = change.version and s.stage not in ('DONE', 'COMPENSATED')
              -- Once its claim has run out it counts for nothing in its queue, and another may have its turn.
              and not (s.is_counted and s.stage = 'WAITING' and change.stage = 'RESERVED' and s.claim_until <= clock_timestamp())
           returning s.id`,
    values: [
      sagas.map(({ id }) => id),
      sagas.map(({ version }) => version),
      sagas.map(({ stage }) => stage),
      sagas.map(({ reason }) => reason),
      sagas.map(({ message }) => message),
      sagas.map(({ placed }) => (placed === null ? null : JSON.stringify(placed))),
      sagas.map(({ outcome }) => (outcome === null ? null : JSON.stringify(outcome))),
      sagas.map(({ failures }) => failures),
      sagas.map(({ parkedStage }) => parkedStage),
      sagas.map(({ wakeInMs }) => wakeInMs),
      sagas.map(({ sequence }) => sequence),
    ],
  });
  return new Set(rows.map(({ id }) => id));
}
