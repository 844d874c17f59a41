/**
 * The statements that move jobs. Each takes many and makes one round trip; the caller owns the transaction. Writing new ones is in
 * newJobStore.ts, reading for users in jobQueries.ts.
 */
import { DomainError } from "@capstan/errors";
import type { Db } from "@capstan/postgres";
import {
  type Ending,
  isJobTerminal,
  isStepTerminal,
  type Job,
  type JobState,
  type Step,
  type StepState,
  unread,
} from "./job.ts";
import type { KnownSteps } from "./plans.ts";
import { noRetry, type RetryPolicy } from "./retry.ts";
import { insertItems, saveEndings } from "./workflowStore.ts";

interface JobRow {
  id: string;
  tenant: string;
  name: string;
  priority: number;
  state: JobState;
  reason: string;
  message: string;
  sequence: number;
  traceparent: string | null;
  schedule_id: string | null;
  queue: string;
  concurrency_key: string;
  deadline_time: Date | null;
  is_workflow: boolean;
  ending: Ending | null;
  pause_time: Date | null;
  parent_job_id: string | null;
  parent_step: string | null;
  parent_attempt: number | null;
  depth: number;
}

interface StepRow {
  job_id: string;
  name: string;
  parent: string | null;
  item_index: number | null;
  state: StepState;
  reason: string;
  message: string;
  attempt: number;
  execution_id: string | null;
  provider_name: string;
  child_job_id: string | null;
  due_time: Date | null;
  exit_code: number | null;
  has_result: boolean;
  retry: RetryPolicy | null;
  start_time: Date | null;
  end_time: Date | null;
  now: Date;
}

interface LockedJobs {
  readonly jobs: Map<string, Job>;
  /** The database's clock, by which everything in this transaction is decided. */
  readonly now: Date;
}

/**
 * Locks jobs until the transaction ends, always in the order of their ids, so that two batches cannot deadlock. The steps are
 * read by a second statement, sent along with the first: one statement would read them as they were before it waited. What they
 * gave back is not read. `known` says what is remembered of a job; it is taken for true if the job has had no fact since.
 */
export async function lockJobs(
  db: Db,
  ids: readonly string[],
  known: (jobId: string) => KnownSteps | undefined = () => undefined,
): Promise<LockedJobs> {
  const unknown = ids.filter((id) => known(id) === undefined);
  const [locked, fresh] = await Promise.all([
    db.query<JobRow>({
      name: "lock_jobs",
      text: `select id, tenant, name, priority, state, reason, message, sequence, traceparent, schedule_id, queue, concurrency_key,
                    deadline_time, is_workflow, ending, pause_time, parent_job_id, parent_step, parent_attempt, depth
               from job.job
              where id = any($1::uuid[])
              order by id
                for no key update`,
      values: [ids],
    }),
    unknown.length > 0 ? readSteps(db, unknown) : readClock(db),
  ]);
  const isStale = ({ id, sequence }: JobRow) => !fresh.steps.has(id) && known(id)?.sequence !== sequence;
  const stale = locked.rows.filter(isStale).map(({ id }) => id);
  const again = stale.length > 0 ? await readSteps(db, stale) : fresh;
  const jobs = locked.rows.map((row): Job => {
    const { id, tenant, name, priority, state, reason, message, sequence, traceparent, queue, ending } = row;
    return {
      ...{ id, tenant, name, priority, state, reason, message, sequence, traceparent, queue, ending },
      scheduleId: row.schedule_id,
      concurrencyKey: row.concurrency_key,
      deadlineTime: row.deadline_time,
      isWorkflow: row.is_workflow,
      pauseTime: row.pause_time,
      parent: parentOf(row),
      depth: row.depth,
      result: undefined,
      steps: fresh.steps.get(id) ?? again.steps.get(id) ?? known(id)?.steps ?? [],
    };
  });
  return { jobs: new Map(jobs.map((job) => [job.id, job])), now: again.now ?? fresh.now ?? new Date() };
}

interface ReadSteps {
  readonly steps: ReadonlyMap<string, readonly Step[]>;
  /** The database's clock; null if there are no such jobs. */
  readonly now: Date | null;
}

async function readSteps(db: Db, ids: readonly string[]): Promise<ReadSteps> {
  const { rows } = await db.query<StepRow>({
    name: "read_steps",
    text: `select job_id, name, parent, item_index, state, reason, message, attempt, execution_id, provider_name, child_job_id,
                  due_time, exit_code, result is not null as has_result, retry, start_time, end_time, clock_timestamp() as now
             from job.step
            where job_id = any($1::uuid[])
            order by job_id, item_index is not null, position, item_index`,
    values: [ids],
  });
  const steps = new Map<string, Step[]>();
  for (const row of rows) {
    const own = steps.get(row.job_id);
    if (own === undefined) steps.set(row.job_id, [stepFromRow(row)]);
    else own.push(stepFromRow(row));
  }
  return { steps, now: rows[0]?.now ?? null };
}

async function readClock(db: Db): Promise<ReadSteps> {
  const { rows } = await db.query<{ now: Date }>({ name: "read_clock", text: "select clock_timestamp() as now" });
  return { steps: new Map(), now: rows[0]?.now ?? null };
}

function parentOf({ parent_job_id: jobId, parent_step: step, parent_attempt: attempt, depth }: JobRow): Job["parent"] {
  return jobId === null || step === null || attempt === null ? null : { jobId, step, attempt, depth };
}

function stepFromRow(row: StepRow): Step {
  return {
    name: row.name,
    parent: row.parent,
    itemIndex: row.item_index,
    state: row.state,
    reason: row.reason,
    message: row.message,
    attempt: row.attempt,
    executionId: row.execution_id,
    providerName: row.provider_name,
    childJobId: row.child_job_id,
    dueTime: row.due_time,
    exitCode: row.exit_code,
    result: row.has_result ? unread : undefined,
    startTime: row.start_time,
    endTime: row.end_time,
    retry: row.retry ?? noRetry,
  };
}

/** A job as it was locked and as it is to be saved. */
export interface Saved {
  readonly before: Job;
  readonly after: Job;
}

/** Saves moved jobs with their steps; throws ABORTED if one of either has moved since it was read, so that nothing is saved. */
export async function saveJobs(db: Db, jobs: readonly Saved[]): Promise<void> {
  const steps = jobs.flatMap(({ before, after }) =>
    after.steps.slice(0, before.steps.length).flatMap((step, index) => {
      const was = before.steps[index];
      return step === was ? [] : [{ jobId: after.id, step, was }];
    }),
  );
  const { rows } = await db.query<{ jobs: number; steps: number }>({
    name: "save_jobs",
    text: `with moved as (
             update job.job j
                set state = change.state, reason = change.reason, message = change.message, sequence = change.sequence,
                    result = coalesce(change.result, j.result),
                    state_time = case when j.state = change.state then j.state_time else clock_timestamp() end,
                    -- Not only on the way to RUNNING: a short job's start and end are reported together.
                    start_time = coalesce(j.start_time,
                                          case when change.start_time < j.create_time then j.create_time else change.start_time end,
                                          case when change.state = 'RUNNING' then clock_timestamp() end),
                    end_time = case when change.is_terminal then clock_timestamp() end
               from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::int[], $7::json[], $8::bool[], $9::text[],
                           $10::timestamptz[])
                 as change (id, old_sequence, state, reason, message, sequence, result, is_terminal, old_state, start_time)
              where j.id = change.id and j.sequence = change.old_sequence and j.state = change.old_state
             returning j.id
           ), moved_steps as (
             update job.step s
                set state = change.state, reason = change.reason, message = change.message, attempt = change.attempt,
                    execution_id = change.execution_id, provider_name = change.provider_name, due_time = change.due_time,
                    exit_code = change.exit_code, result = coalesce(change.result, s.result), start_time = change.start_time,
                    state_time = case when s.state = change.state then s.state_time else clock_timestamp() end,
                    end_time = case when change.is_terminal then coalesce(change.end_time, clock_timestamp()) end
               from unnest($11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::int[], $18::uuid[],
                           $19::text[], $20::timestamptz[], $21::int[], $22::json[], $23::timestamptz[], $24::bool[], $25::timestamptz[])
                 as change (job_id, name, old_state, state, reason, message, attempt, execution_id,
                            provider_name, due_time, exit_code, result, start_time, is_terminal, end_time)
              where s.job_id = change.job_id and s.name = change.name and s.state = change.old_state
             returning s.job_id
           )
           select (select count(*) from moved) as jobs, (select count(*) from moved_steps) as steps`,
    values: [
      jobs.map(({ after }) => after.id),
      jobs.map(({ before }) => before.sequence),
      jobs.map(({ after }) => after.state),
      jobs.map(({ after }) => after.reason),
      jobs.map(({ after }) => after.message),
      jobs.map(({ after }) => after.sequence),
      jobs.map(({ after }) => jsonOrNull(after.result)),
      jobs.map(({ after }) => isJobTerminal(after.state)),
      jobs.map(({ before }) => before.state),
      jobs.map(({ after }) => firstStartOf(after)),
      steps.map(({ jobId }) => jobId),
      steps.map(({ step }) => step.name),
      steps.map(({ was }) => was?.state),
      steps.map(({ step }) => step.state),
      steps.map(({ step }) => step.reason),
      steps.map(({ step }) => step.message),
      steps.map(({ step }) => step.attempt),
      steps.map(({ step }) => step.executionId),
      steps.map(({ step }) => step.providerName),
      steps.map(({ step }) => step.dueTime),
      steps.map(({ step }) => step.exitCode),
      steps.map(({ step }) => jsonOrNull(step.result)),
      steps.map(({ step }) => step.startTime),
      steps.map(({ step }) => isStepTerminal(step.state)),
      steps.map(({ step }) => step.endTime),
    ],
  });
  if (rows[0]?.jobs === jobs.length && rows[0].steps === steps.length) return saveWorkflows(db, jobs);
  throw new DomainError({
    code: "ABORTED",
    reason: "JOB_HAS_MOVED",
    message: "a job has moved since it was read; try again",
  });
}

/** What only workflows have, and only now and then: items that are new, and an ending that was decided. */
async function saveWorkflows(db: Db, jobs: readonly Saved[]): Promise<void> {
  const endings = jobs.filter(({ before, after }) => after.ending !== before.ending).map(({ after }) => after);
  const items = jobs.flatMap(({ before, after }) => {
    const fresh = after.steps.slice(before.steps.length);
    if (fresh.length === 0) return [];
    const positions = new Map(after.steps.map(({ name }, position) => [name, position]));
    return fresh.map((step) => ({ jobId: after.id, step, position: positions.get(step.parent ?? "") ?? 0 }));
  });
  if (endings.length > 0) await saveEndings(db, endings);
  if (items.length > 0) await insertItems(db, items);
}

/** Null while none of its steps has begun. */
function firstStartOf({ steps }: Job): Date | null {
  let first: Date | null = null;
  for (const { startTime } of steps) {
    if (startTime !== null && (first === null || startTime < first)) first = startTime;
  }
  return first;
}

function jsonOrNull(value: unknown): string | null {
  return value === undefined || value === unread ? null : JSON.stringify(value);
}
