/** The statements that only jobs with steps that wait, and jobs that come from other jobs, need. */
import type { Db } from "@capstan/postgres";
import { insertCancels, insertSubmits, insertTells, type Kinship } from "./errandStore.ts";
import { isJobTerminal, type Job } from "./job.ts";
import type { Passed } from "./pass.ts";
import { saveTakenSignals } from "./signalStore.ts";

/** What was decided about a job as it was locked. */
interface DecidedJob {
  readonly before: Job;
  readonly decision: Passed;
}

/** Keeps what decisions leave behind beside the moves themselves; most leave nothing, and cost no statement. */
export async function saveWaits(db: Db, decided: readonly DecidedJob[]): Promise<void> {
  const taken = decided.flatMap(({ before, decision }) =>
    (decision.taken ?? []).map((signal) => ({ ...signal, jobId: before.id })),
  );
  const submits = decided.flatMap(({ decision }) => decision.children ?? []);
  const cancels = decided.flatMap(cancelsOf);
  const tells = decided.flatMap(tellsOf);
  const pauses = decided.filter(({ before, decision: { after } }) => before.pauseTime !== after.pauseTime);
  if (taken.length > 0) await saveTakenSignals(db, taken);
  if (submits.length > 0) await insertSubmits(db, submits);
  if (cancels.length > 0) await insertCancels(db, cancels);
  if (tells.length > 0) await insertTells(db, tells);
  if (pauses.length > 0)
    await savePauses(
      db,
      pauses.map(({ decision }) => decision.after),
    );
}

/** When a job is asked to end, so are those that its steps have submitted. What undoes it comes later, and is not meant. */
function cancelsOf({ before, decision: { after } }: DecidedJob): readonly Kinship[] {
  if (after.state !== "CANCELLING" || before.state === "CANCELLING") return [];
  return before.steps.flatMap(({ name, attempt, state, childJobId }) =>
    childJobId !== null && state === "RUNNING" ? [{ childJobId, parentJobId: before.id, step: name, attempt }] : [],
  );
}

function tellsOf({ before, decision: { after } }: DecidedJob): readonly Kinship[] {
  const { parent } = before;
  if (parent === null || !isJobTerminal(after.state) || isJobTerminal(before.state)) return [];
  return [{ childJobId: before.id, parentJobId: parent.jobId, step: parent.step, attempt: parent.attempt }];
}

async function savePauses(db: Db, jobs: readonly Pick<Job, "id" | "pauseTime">[]): Promise<void> {
  await db.query({
    name: "save_pauses",
    text: `update job.job j set pause_time = change.pause_time
             from unnest($1::uuid[], $2::timestamptz[]) as change (id, pause_time)
            where j.id = change.id`,
    values: [jobs.map(({ id }) => id), jobs.map(({ pauseTime }) => pauseTime)],
  });
}

/** Where a job comes from, if that is another job. */
export interface Lineage {
  readonly jobId: string;
  /** The job that it repeats with another input. */
  readonly rerunOf: string | null;
  /** The step that has submitted it, and when it times out at the latest. */
  readonly parent: Job["parent"];
  readonly deadlineTime: Date | null;
}

/** Keeps where jobs come from that were just written. */
export async function saveLineage(db: Db, jobs: readonly Lineage[]): Promise<void> {
  await db.query({
    name: "save_lineage",
    text: `update job.job j
              set rerun_of = origin.rerun_of, parent_job_id = origin.parent_job_id, parent_step = origin.parent_step,
                  parent_attempt = origin.parent_attempt, depth = coalesce(origin.depth, 0),
                  deadline_time = least(j.deadline_time, origin.deadline_time)
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::timestamptz[])
               as origin (id, rerun_of, parent_job_id, parent_step, parent_attempt, depth, deadline_time)
            where j.id = origin.id`,
    values: [
      jobs.map(({ jobId }) => jobId),
      jobs.map(({ rerunOf }) => rerunOf),
      jobs.map(({ parent }) => parent?.jobId ?? null),
      jobs.map(({ parent }) => parent?.step ?? null),
      jobs.map(({ parent }) => parent?.attempt ?? null),
      jobs.map(({ parent }) => parent?.depth ?? null),
      jobs.map(({ deadlineTime }) => deadlineTime),
    ],
  });
}

/** Steps that a job need not run again, because an earlier one has. */
export interface KeptSteps {
  readonly jobId: string;
  readonly fromJobId: string;
  readonly names: readonly string[];
}

/** Has steps of jobs that were just written stand as they ended in an earlier job, with what they gave back. */
export async function copySteps(db: Db, jobs: readonly KeptSteps[]): Promise<void> {
  const each = jobs.flatMap(({ jobId, fromJobId, names }) => names.map((name) => ({ jobId, fromJobId, name })));
  await db.query({
    name: "copy_steps",
    text: `update job.step s
              set state = old.state, reason = old.reason, message = old.message, attempt = old.attempt, result = old.result,
                  exit_code = old.exit_code, execution_id = old.execution_id, provider_name = old.provider_name,
                  child_job_id = old.child_job_id, start_time = old.start_time, end_time = old.end_time
             from unnest($1::uuid[], $2::uuid[], $3::text[]) as kept (job_id, from_job_id, name)
             join job.step old on old.job_id = kept.from_job_id and old.name = kept.name
            where s.job_id = kept.job_id and s.name = kept.name`,
    values: [each.map(({ jobId }) => jobId), each.map(({ fromJobId }) => fromJobId), each.map(({ name }) => name)],
  });
}
