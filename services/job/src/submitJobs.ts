/**
 * How jobs are accepted: checked one by one, written together. Calls that come while a write is under way join the next one,
 * so that a thousand clients with one job each cost about as much as one client with a thousand.
 */
import { DomainError, invalid } from "@capstan/errors";
import { appendFacts, type Db, inTransaction, type Pool } from "@capstan/postgres";
import type { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { coalesce } from "@capstan/service";
import { birthOf, type SubmitOrigin } from "./birth.ts";
import { checkLine, durationMs } from "./fieldChecks.ts";
import type { Job } from "./job.ts";
import { factOf, hashOf } from "./jobProto.ts";
import { checkSpec, completeSpec } from "./jobSpec.ts";
import { moveJobsIn } from "./moveJobs.ts";
import { findTakenKeys, insertJobs, type NewJob, type TakenKey } from "./newJobStore.ts";
import { compilePlan, needsPlan, type Plan } from "./plan.ts";
import { createPlans, type Plans } from "./plans.ts";
import type { QueueLimits } from "./queueLimits.ts";
import { copySteps, type KeptSteps, type Lineage, saveLineage } from "./waitStore.ts";
import { begin } from "./workflow.ts";

/** A job that passed the checks, with the fact of its birth. */
export interface CheckedJob extends NewJob {
  readonly completedSpec: JobSpec;
  /** What the caller should know, as that a template is DEPRECATED. */
  readonly warnings: readonly string[];
  /** Null for a job that is moved without one. */
  readonly plan: Plan | null;
  /** Null for a job that comes from no other; a retry that runs all again is told by `retryOf`. */
  readonly lineage: Lineage | null;
  /** The steps that it need not run again. */
  readonly kept?: KeptSteps;
}

export interface Accepted {
  readonly jobId: string;
  /** Null if the key had a job already. */
  readonly createTime: Date | null;
  /** True if the key had a job already. */
  readonly existed: boolean;
  /** A workflow as it was after it had begun, which it does at once. */
  readonly begun?: Job;
}

/** A request as a job that can be written. Refuses with every bad field, as paths below `at`. */
export function checkRequest(request: SubmitJobRequest, origin: SubmitOrigin, now: Date, at = ""): CheckedJob {
  const violations = [...checkSpec(request.spec, `${at}spec`, now)];
  const refuse = (field: string, description: string) => violations.push({ field: `${at}${field}`, description });
  checkLine(request.idempotencyKey, "idempotency_key", 256, refuse);
  checkLine(request.requestId, "request_id", 64, refuse);
  if (request.spec === undefined || violations.length > 0) throw invalid(violations);
  const spec = completeSpec(request.spec);
  const plan = needsPlan(spec) ? compilePlan(spec) : null;
  const json = JobSpec.toJSON(spec);
  const job = birthOf(spec, plan, origin, now);
  return {
    completedSpec: spec,
    warnings: [],
    plan,
    job,
    labels: spec.labels,
    spec: JSON.stringify(json),
    source: spec.source,
    idempotencyKey: request.idempotencyKey || null,
    requestId: request.requestId || null,
    requestHash: origin.requestHash ?? hashOf(json),
    retryOf: origin.retryOf ?? null,
    template: origin.template ?? null,
    scheduledTime: origin.schedule?.time ?? null,
    timeoutMs: durationMs(spec.timeout) || null,
    lineage: lineageOf(job, origin),
  };
}

function lineageOf({ id, parent }: Job, { rerunOf, deadlineTime }: SubmitOrigin): Lineage | null {
  if (parent === null && rerunOf === undefined) return null;
  return { jobId: id, rerunOf: rerunOf ?? null, parent, deadlineTime: deadlineTime ?? null };
}

/** Gives back how to accept one checked job; it resolves after COMMIT, or refuses a key that was used with another spec. */
export function createAccept(
  pool: Pool,
  plans: Plans,
  limits: QueueLimits,
  noteBorn: NoteBorn,
): (job: CheckedJob) => Promise<Accepted> {
  const acceptOne = coalesce(async (jobs: readonly CheckedJob[]): Promise<readonly (Accepted | DomainError)[]> => {
    const outcomes = await inTransaction(pool, (db) => writeWithin(db, jobs, plans, limits));
    noteBorn(jobs, outcomes);
    return outcomes;
  });
  return async (job) => {
    const outcome = await acceptOne(job);
    if (outcome instanceof DomainError) throw outcome;
    return outcome;
  };
}

/** What is done after COMMIT with jobs that were to be written, and what became of each. */
export type NoteBorn = (jobs: readonly CheckedJob[], outcomes: readonly (Accepted | DomainError)[]) => void;

/** Hands on those that are new, and has their timeouts looked at in time. */
export function createNoteBorn(onCommit: (jobs: readonly Job[]) => void, remindIn: (ms: number) => void): NoteBorn {
  return (jobs, outcomes) => {
    onCommit(jobs.flatMap(({ job }, index) => bornOf(job, outcomes[index])));
    for (const { timeoutMs } of jobs) if (timeoutMs !== null) remindIn(timeoutMs);
  };
}

function bornOf(job: Job, outcome: Accepted | DomainError | undefined): readonly Job[] {
  if (outcome === undefined || outcome instanceof DomainError || outcome.existed) return [];
  return [outcome.begun ?? job];
}

/**
 * Writes those that their queues have room for, with their facts, in the caller's transaction; the others are refused, unless they are
 * there already.
 */
export async function writeWithin(
  db: Db,
  jobs: readonly CheckedJob[],
  plans: Plans,
  limits: QueueLimits,
): Promise<readonly (Accepted | DomainError)[]> {
  const refusals = await limits.check(
    db,
    jobs.map(({ job }) => job),
  );
  const admitted = jobs.filter((_, index) => refusals[index] === null);
  const written = admitted.length === 0 ? [] : await writeJobs(db, admitted, plans);
  const kept = admitted.map(({ job }) => job).filter((_, index) => isNew(written[index]));
  if (kept.length > 0) await limits.keep(db, kept);
  if (admitted.length === jobs.length) return written;
  const refused = jobs.filter((_, index) => refusals[index] !== null);
  const taken = await findTakenKeys(db, refused);
  let next = 0;
  return jobs.map((job, index) => {
    const refusal = refusals[index] ?? null;
    if (refusal === null) return written[next++] as Accepted | DomainError;
    return holderOf(job, taken) === undefined ? refusal : existing(job, taken);
  });
}

function isNew(outcome: Accepted | DomainError | undefined): boolean {
  return outcome !== undefined && !(outcome instanceof DomainError) && !outcome.existed;
}

/** Writes jobs with their facts in the caller's transaction; one whose key is taken is answered with the job that has it. */
export async function writeJobs(
  db: Db,
  jobs: readonly CheckedJob[],
  plans: Plans = createPlans(),
): Promise<readonly (Accepted | DomainError)[]> {
  const { ids: inserted, createTime } = await insertJobs(db, jobs);
  const fresh = jobs.filter(({ job }) => inserted.has(job.id));
  if (fresh.length > 0)
    await appendFacts(
      db,
      fresh.map((job) => birthFact(job, createTime)),
    );
  const lineage = fresh.flatMap((job) => job.lineage ?? []);
  if (lineage.length > 0) await saveLineage(db, lineage);
  const kept = fresh.flatMap((job) => job.kept ?? []);
  if (kept.length > 0) await copySteps(db, kept);
  const begun = await beginWorkflows(db, fresh, plans);
  const rest = jobs.filter(({ job }) => !inserted.has(job.id));
  const taken = rest.length > 0 ? await findTakenKeys(db, rest) : [];
  return jobs.map((job) => {
    if (!inserted.has(job.job.id)) return existing(job, taken);
    const begunJob = begun.get(job.job.id);
    return { jobId: job.job.id, createTime, existed: false, ...(begunJob === undefined ? {} : { begun: begunJob }) };
  });
}

/** Begins those that need not wait for their time: with a second fact, because some step of them may have ended already. */
async function beginWorkflows(db: Db, jobs: readonly CheckedJob[], plans: Plans): Promise<ReadonlyMap<string, Job>> {
  const ids = jobs.flatMap(({ job, plan, spec }) => {
    if (plan === null) return [];
    plans.add(job.id, plan, spec.length);
    return job.reason === "NOT_BEFORE" ? [] : [job.id];
  });
  if (ids.length === 0) return new Map();
  const { jobs: begun } = await moveJobsIn(db, plans, ids, (job, now, flow) =>
    flow === null ? undefined : (begin(job, flow, now) ?? undefined),
  );
  return begun;
}

function birthFact(checked: CheckedJob, createTime: Date) {
  const { completedSpec, labels, source, retryOf, requestId, template, timeoutMs } = checked;
  const deadlineTime = timeoutMs === null ? null : new Date(createTime.getTime() + timeoutMs);
  const job = deadlineTime === null ? checked.job : { ...checked.job, deadlineTime };
  const change = { job, noun: "job", event: "submitted", moved: job.isWorkflow ? [] : job.steps } as const;
  return factOf(change, completedSpec, requestId ?? "", {
    labels: { ...labels },
    source,
    retryOf: retryOf ?? "",
    template: template?.name ?? "",
    templateVersion: template?.version ?? 0,
    scheduleId: job.scheduleId ?? "",
    rerunOf: checked.lineage?.rerunOf ?? "",
    parentJobId: job.parent?.jobId ?? "",
  });
}

function holderOf(job: CheckedJob, taken: readonly TakenKey[]): TakenKey | undefined {
  return taken.find(
    (key) =>
      key.tenant === job.job.tenant &&
      ((key.requestId !== null && key.requestId === job.requestId) ||
        (key.idempotencyKey !== null && key.idempotencyKey === job.idempotencyKey)),
  );
}

function existing(job: CheckedJob, taken: readonly TakenKey[]): Accepted | DomainError {
  const holder = holderOf(job, taken);
  if (holder === undefined) {
    return new DomainError({
      code: "ABORTED",
      reason: "KEY_IN_FLUX",
      message: "the key was taken and freed; try again",
    });
  }
  if (holder.requestHash.equals(job.requestHash)) return { jobId: holder.jobId, createTime: null, existed: true };
  const isRequest = holder.requestId !== null && holder.requestId === job.requestId;
  return new DomainError({
    code: "ALREADY_EXISTS",
    reason: isRequest ? "REQUEST_ID_REUSED" : "IDEMPOTENCY_KEY_REUSED",
    message: `job ${holder.jobId} was submitted with the same ${isRequest ? "request_id" : "idempotency_key"} and another spec`,
    fields: [{ field: isRequest ? "request_id" : "idempotency_key", description: "was used with another spec" }],
    metadata: { jobId: holder.jobId },
    resource: { type: "capstan.job.v1.Job", name: holder.jobId },
  });
}
