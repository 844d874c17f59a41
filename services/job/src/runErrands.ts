/**
 * What is done between jobs and their sub-jobs: submits, cancels, and the ends that go up. Every errand may be run again, and two replicas
 * may run the same one.
 */
import { DomainError } from "@capstan/errors";
import { type Db, inTransaction, type Pool } from "@capstan/postgres";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { endChildren } from "./childEnds.ts";
import {
  type DueSubmit,
  doneCancels,
  doneTells,
  findCancels,
  findTells,
  insertRefusals,
  takeSubmits,
} from "./errandStore.ts";
import { isJobTerminal, type Job } from "./job.ts";
import { cancelOf, type MoveJobs } from "./moveJobs.ts";
import type { Plans } from "./plans.ts";
import { type Accepted, type CheckedJob, type NoteBorn, writeJobs } from "./submitJobs.ts";
import { checkTemplateJobs, type TemplateRequest } from "./useTemplate.ts";

export interface ErrandDeps {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly moveJobs: MoveJobs;
  readonly noteBorn: NoteBorn;
}

const batchSize = 200;

/** True if the move of a job has left an errand behind. */
export function hasErrand({ parent, state, steps }: Job): boolean {
  if (parent !== null && isJobTerminal(state)) return true;
  return steps.some((step) => step.childJobId !== null && step.state === "RUNNING");
}

/** One pass; true when there may be more. */
export async function runErrandsOnce(deps: ErrandDeps): Promise<boolean> {
  const submitted = await submitChildren(deps);
  const cancelled = await cancelChildren(deps);
  const told = await tellParents(deps);
  return [submitted, cancelled, told].includes(batchSize);
}

async function submitChildren({ pool, plans, noteBorn }: ErrandDeps): Promise<number> {
  const { count, jobs, outcomes } = await inTransaction(pool, async (db) => {
    const due = await takeSubmits(db, batchSize);
    if (due.length === 0) return { count: 0, jobs: [], outcomes: [] };
    return { count: due.length, ...(await writeChildren(db, due, plans)) };
  });
  if (jobs.length > 0) noteBorn(jobs, outcomes);
  return count;
}

interface Written {
  readonly jobs: readonly CheckedJob[];
  readonly outcomes: readonly (Accepted | DomainError)[];
}

async function writeChildren(db: Db, due: readonly DueSubmit[], plans: Plans): Promise<Written> {
  const now = new Date();
  const checked = await checkTemplateJobs(db, due.map(requestOf), now);
  const fits: CheckedJob[] = [];
  const refused = due.flatMap((child, at) => {
    const outcome = checked[at];
    if (outcome === undefined) return [];
    if (!(outcome instanceof DomainError)) {
      fits.push(limited(outcome, child, now));
      return [];
    }
    return [{ ...child, refusal: outcome.message }];
  });
  if (refused.length > 0) await insertRefusals(db, refused);
  return { jobs: fits, outcomes: fits.length === 0 ? [] : await writeJobs(db, fits, plans) };
}

function requestOf(child: DueSubmit): TemplateRequest {
  const { childJobId, parentJobId, step, attempt, depth, template, tenant, traceparent, deadlineTime } = child;
  const parent = { jobId: parentJobId, step, attempt, depth };
  return {
    request: SubmitJobRequest.fromPartial({ template }),
    origin: { tenant, traceparent, jobId: childJobId, parent, deadlineTime },
    at: "sub_job.",
  };
}

/** A job ends no later than its parent. */
function limited(checked: CheckedJob, { deadlineTime }: DueSubmit, now: Date): CheckedJob {
  if (deadlineTime === null) return checked;
  const leftMs = Math.max(1, deadlineTime.getTime() - now.getTime());
  return { ...checked, timeoutMs: Math.min(checked.timeoutMs ?? leftMs, leftMs) };
}

async function cancelChildren({ pool, moveJobs }: ErrandDeps): Promise<number> {
  const ids = await findCancels(pool, batchSize);
  if (ids.length === 0) return 0;
  const cause = { reason: "PARENT_ENDED", message: "the job that it is part of is being cancelled" };
  await moveJobs(
    ids,
    (job, now, flow) =>
      isJobTerminal(job.state) ? undefined : cancelOf(job, cause, job.parent?.jobId ?? "", now, flow),
    (db) => doneCancels(db, ids),
  );
  return ids.length;
}

async function tellParents({ pool, moveJobs }: ErrandDeps): Promise<number> {
  const ends = await findTells(pool, batchSize);
  if (ends.length === 0) return 0;
  const byParent = Map.groupBy(ends, ({ parentJobId }) => parentJobId);
  await moveJobs(
    [...byParent.keys()],
    (job, now, flow) => {
      if (flow === null || isJobTerminal(job.state)) return undefined;
      return endChildren(job, byParent.get(job.id) ?? [], flow, now, Math.random) ?? undefined;
    },
    (db) =>
      doneTells(
        db,
        ends.map(({ childJobId }) => childJobId),
      ),
  );
  return ends.length;
}
