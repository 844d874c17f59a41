/**
 * How jobs are accepted: checked one by one, written together. Calls that come while a write is under way join the next one,
 * so that a thousand clients with one job each cost about as much as one client with a thousand.
 */
import { DomainError, invalid } from "@capstan/errors";
import { appendFacts, type Db, inTransaction, type Pool, uuidv7 } from "@capstan/postgres";
import type { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { coalesce } from "@capstan/service";
import { checkLine, durationMs } from "./fieldChecks.ts";
import type { Job, Step } from "./job.ts";
import { factOf, hashOf } from "./jobProto.ts";
import { checkSpec, completeSpec } from "./jobSpec.ts";
import { findTakenKeys, insertJobs, type NewJob, type TakenKey } from "./jobStore.ts";
import { noRetry } from "./retry.ts";
import { retryPolicyOf } from "./stepPolicy.ts";

/** A job that passed the checks, with the fact of its birth. */
export interface CheckedJob extends NewJob {
  readonly completedSpec: JobSpec;
  /** What the caller should know, as that a template is DEPRECATED. */
  readonly warnings: readonly string[];
}

export interface Accepted {
  readonly jobId: string;
  /** Null if the key had a job already. */
  readonly createTime: Date | null;
  /** True if the key had a job already. */
  readonly existed: boolean;
}

export interface SubmitOrigin {
  readonly tenant: string;
  readonly traceparent: string | null;
  readonly retryOf?: string;
  /** The template that the spec was made from. */
  readonly template?: NewJob["template"];
  readonly schedule?: { readonly id: string; readonly time: Date | null };
  /** What its schedule tells the job, in its input. */
  readonly scheduleInput?: { readonly id: string; readonly name: string; readonly time: string };
  /** What tells the request from others with its key; the hash of its spec if absent. */
  readonly requestHash?: Uint8Array;
}

/** A request as a job that can be written. Refuses with every bad field, as paths below `at`. */
export function checkRequest(request: SubmitJobRequest, origin: SubmitOrigin, now: Date, at = ""): CheckedJob {
  const violations = [...checkSpec(request.spec, `${at}spec`, now)];
  const refuse = (field: string, description: string) => violations.push({ field: `${at}${field}`, description });
  checkLine(request.idempotencyKey, "idempotency_key", 256, refuse);
  checkLine(request.requestId, "request_id", 64, refuse);
  if (request.spec === undefined || violations.length > 0) throw invalid(violations);
  const spec = completeSpec(request.spec);
  return {
    completedSpec: spec,
    warnings: [],
    job: birthOf(spec, origin, now),
    labels: spec.labels,
    spec: JSON.stringify(JobSpec.toJSON(spec)),
    source: spec.source,
    idempotencyKey: request.idempotencyKey || null,
    requestId: request.requestId || null,
    requestHash: origin.requestHash ?? hashOf(spec),
    retryOf: origin.retryOf ?? null,
    template: origin.template ?? null,
    scheduledTime: origin.schedule?.time ?? null,
    timeoutMs: durationMs(spec.timeout) || null,
  };
}

function birthOf(spec: JobSpec, { tenant, traceparent, schedule }: SubmitOrigin, now: Date): Job {
  const waitsUntil = spec.notBefore !== undefined && spec.notBefore > now ? spec.notBefore : null;
  const steps = spec.steps.map(
    (step): Step => ({
      name: step.name,
      state: waitsUntil === null ? "READY" : "BLOCKED",
      reason: waitsUntil === null ? "QUEUED" : "NOT_BEFORE",
      message: "",
      attempt: 1,
      executionId: null,
      providerName: "",
      dueTime: waitsUntil,
      exitCode: null,
      result: undefined,
      startTime: null,
      retry: retryPolicyOf(step.retry) ?? noRetry,
    }),
  );
  return {
    id: uuidv7(),
    tenant,
    name: spec.name,
    priority: spec.priority,
    state: "PENDING",
    reason: waitsUntil === null ? "QUEUED" : "NOT_BEFORE",
    message: "",
    sequence: 1,
    traceparent,
    scheduleId: schedule?.id ?? null,
    steps,
    result: undefined,
  };
}

/** Gives back how to accept one checked job; it resolves after COMMIT, or refuses a key that was used with another spec. */
export function createAccept(
  pool: Pool,
  onCommit: (jobs: readonly Job[]) => void,
  remindIn: (ms: number) => void,
): (job: CheckedJob) => Promise<Accepted> {
  const acceptOne = coalesce(async (jobs: readonly CheckedJob[]): Promise<readonly (Accepted | DomainError)[]> => {
    const outcomes = await inTransaction(pool, (db) => writeJobs(db, jobs));
    onCommit(jobs.filter((_, index) => isNew(outcomes[index])).map(({ job }) => job));
    for (const { timeoutMs } of jobs) if (timeoutMs !== null) remindIn(timeoutMs);
    return outcomes;
  });
  return async (job) => {
    const outcome = await acceptOne(job);
    if (outcome instanceof DomainError) throw outcome;
    return outcome;
  };
}

function isNew(outcome: Accepted | DomainError | undefined): boolean {
  return outcome !== undefined && !(outcome instanceof DomainError) && !outcome.existed;
}

/** Writes jobs with their facts in the caller's transaction; one whose key is taken is answered with the job that has it. */
export async function writeJobs(db: Db, jobs: readonly CheckedJob[]): Promise<readonly (Accepted | DomainError)[]> {
  const { ids: inserted, createTime } = await insertJobs(db, jobs);
  const fresh = jobs.filter(({ job }) => inserted.has(job.id));
  if (fresh.length > 0) await appendFacts(db, fresh.map(birthFact));
  const rest = jobs.filter(({ job }) => !inserted.has(job.id));
  const taken = rest.length > 0 ? await findTakenKeys(db, rest) : [];
  return jobs.map((job) =>
    inserted.has(job.job.id) ? { jobId: job.job.id, createTime, existed: false } : existing(job, taken),
  );
}

function birthFact({ job, completedSpec, labels, source, retryOf, requestId, template }: CheckedJob) {
  const change = { job, noun: "job", event: "submitted", moved: job.steps } as const;
  return factOf(change, completedSpec, requestId ?? "", {
    labels: { ...labels },
    source,
    retryOf: retryOf ?? "",
    template: template?.name ?? "",
    templateVersion: template?.version ?? 0,
    scheduleId: job.scheduleId ?? "",
  });
}

function existing(job: CheckedJob, taken: readonly TakenKey[]): Accepted | DomainError {
  const holder = taken.find(
    (key) =>
      key.tenant === job.job.tenant &&
      ((key.requestId !== null && key.requestId === job.requestId) ||
        (key.idempotencyKey !== null && key.idempotencyKey === job.idempotencyKey)),
  );
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
