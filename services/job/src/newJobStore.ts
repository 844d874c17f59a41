/** The statements that write jobs for the first time, and find those that are there already. What moves jobs is in jobStore.ts. */
import type { Db } from "@capstan/postgres";
import type { Job } from "./job.ts";

/** A job as it is first written, with what only its birth needs. */
export interface NewJob {
  readonly job: Job;
  readonly labels: Readonly<Record<string, string>>;
  /** JSON mapping of the completed spec. */
  readonly spec: string;
  readonly source: string;
  readonly idempotencyKey: string | null;
  readonly requestId: string | null;
  readonly requestHash: Uint8Array;
  readonly retryOf: string | null;
  /** What it was made from; null for a spec. */
  readonly template: { readonly name: string; readonly version: number } | null;
  /** The time by the plan of its schedule; null without one, and when somebody asked for the run. */
  readonly scheduledTime: Date | null;
  /** From acceptance to the deadline of the whole job; null for none. */
  readonly timeoutMs: number | null;
}

/**
 * Writes jobs with their steps, all at one time by the database's clock; leaves out those whose key is taken and gives back the ids of
 * the others.
 */
export async function insertJobs(
  db: Db,
  jobs: readonly NewJob[],
): Promise<{ readonly ids: ReadonlySet<string>; readonly createTime: Date }> {
  const steps = jobs.flatMap(({ job }) => job.steps.map((step, position) => ({ jobId: job.id, position, step })));
  const { rows } = await db.query<{ id: string | null; time: Date }>({
    name: "insert_jobs",
    text: `with clock as materialized (
             select clock_timestamp() as time
           ), accepted as (
             insert into job.job (id, tenant, name, labels, spec, priority, source, idempotency_key, request_id,
                                  request_hash, retry_of, state, reason, sequence, traceparent, deadline_time, create_time, state_time,
                                  template, template_version, schedule_id, scheduled_time, queue, concurrency_key, is_workflow)
             select id, tenant, name, labels, spec, priority, source, idempotency_key, request_id,
                    request_hash, retry_of, state, reason, 1, traceparent,
                    clock.time + timeout_ms * interval '1 millisecond', clock.time, clock.time,
                    template, template_version, schedule_id, scheduled_time, queue, concurrency_key, is_workflow
               from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::json[], $6::int[], $7::text[], $8::text[],
                           $9::text[], $10::bytea[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::float8[],
                           $16::text[], $17::int[], $18::uuid[], $19::timestamptz[], $28::text[], $29::text[], $30::bool[])
                 as job (id, tenant, name, labels, spec, priority, source, idempotency_key,
                         request_id, request_hash, retry_of, state, reason, traceparent, timeout_ms,
                         template, template_version, schedule_id, scheduled_time, queue, concurrency_key, is_workflow), clock
              -- Two batches with the same keys wait for each other: in one order, so that they cannot deadlock.
              order by idempotency_key, request_id
             on conflict do nothing
             returning id
           ), planned as (
             insert into job.step (job_id, name, position, state, reason, attempt, due_time, retry, state_time)
             select job_id, name, position, state, reason, attempt, due_time, retry, clock.time
               from unnest($20::uuid[], $21::text[], $22::int[], $23::text[], $24::text[], $25::int[],
                           $26::timestamptz[], $27::json[])
                 as step (job_id, name, position, state, reason, attempt, due_time, retry), clock
              -- "is true" keeps it from becoming a join, which would compare each with each: two thirds of the statement.
              where (job_id in (select id from accepted)) is true
           )
           select accepted.id, clock.time from clock left join accepted on true`,
    values: [
      jobs.map(({ job }) => job.id),
      jobs.map(({ job }) => job.tenant),
      jobs.map(({ job }) => job.name),
      jobs.map(({ labels }) => JSON.stringify(labels)),
      jobs.map(({ spec }) => spec),
      jobs.map(({ job }) => job.priority),
      jobs.map(({ source }) => source),
      jobs.map(({ idempotencyKey }) => idempotencyKey),
      jobs.map(({ requestId }) => requestId),
      jobs.map(({ requestHash }) => requestHash),
      jobs.map(({ retryOf }) => retryOf),
      jobs.map(({ job }) => job.state),
      jobs.map(({ job }) => job.reason),
      jobs.map(({ job }) => job.traceparent),
      jobs.map(({ timeoutMs }) => timeoutMs),
      jobs.map(({ template }) => template?.name ?? null),
      jobs.map(({ template }) => template?.version ?? null),
      jobs.map(({ job }) => job.scheduleId),
      jobs.map(({ scheduledTime }) => scheduledTime),
      steps.map(({ jobId }) => jobId),
      steps.map(({ step }) => step.name),
      steps.map(({ position }) => position),
      steps.map(({ step }) => step.state),
      steps.map(({ step }) => step.reason),
      steps.map(({ step }) => step.attempt),
      steps.map(({ step }) => step.dueTime),
      steps.map(({ step }) => (step.retry.maxAttempts > 1 ? JSON.stringify(step.retry) : null)),
      jobs.map(({ job }) => job.queue),
      jobs.map(({ job }) => job.concurrencyKey),
      jobs.map(({ job }) => job.isWorkflow),
    ],
  });
  return { ids: new Set(rows.flatMap(({ id }) => id ?? [])), createTime: rows[0]?.time ?? new Date() };
}

export interface TakenKey {
  readonly tenant: string;
  readonly idempotencyKey: string | null;
  readonly requestId: string | null;
  readonly jobId: string;
  readonly requestHash: Buffer;
}

/** The jobs that hold any of these keys. */
export async function findTakenKeys(db: Db, jobs: readonly NewJob[]): Promise<readonly TakenKey[]> {
  const { rows } = await db.query<{
    id: string;
    tenant: string;
    idempotency_key: string | null;
    request_id: string | null;
    request_hash: Buffer;
  }>({
    name: "find_taken_keys",
    text: `select id, tenant, idempotency_key, request_id, request_hash
             from job.job
            where (tenant, idempotency_key) in (select * from unnest($1::text[], $2::text[]))
           union
           select id, tenant, idempotency_key, request_id, request_hash
             from job.job
            where (tenant, request_id) in (select * from unnest($1::text[], $3::text[]))`,
    values: [
      jobs.map(({ job }) => job.tenant),
      jobs.map(({ idempotencyKey }) => idempotencyKey),
      jobs.map(({ requestId }) => requestId),
    ],
  });
  return rows.map((row) => ({
    tenant: row.tenant,
    idempotencyKey: row.idempotency_key,
    requestId: row.request_id,
    jobId: row.id,
    requestHash: row.request_hash,
  }));
}
