/** The RPCs for users of jobs. Each reads: check the request, decide, save, answer. */
import { DomainError, invalid, notFound } from "@capstan/errors";
import {
  type Call,
  decodePageToken,
  encodePageToken,
  fitPage,
  pageSize,
  parseFilter,
  serverStream,
  unary,
} from "@capstan/grpc";
import type { NatsConnection } from "@capstan/messaging";
import { isUuid, listFacts, type Pool } from "@capstan/postgres";
import type {
  JobServiceServer,
  SubmitJobRequest,
  SubmitJobResult,
  WatchJobResponse,
} from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { coalesce } from "@capstan/service";
import { checkDuration, checkLine, durationMs, durationOfMs } from "./fieldChecks.ts";
import { followJob } from "./followJob.ts";
import { isJobTerminal } from "./job.ts";
import { stepMessages, toMessage } from "./jobMessage.ts";
import { eventMessage } from "./jobProto.ts";
import { filterFields, getJobs, type JobView, jobOrders, listJobs } from "./jobQueries.ts";
import { createJobRepeats } from "./jobRepeats.ts";
import { createJobStats } from "./jobStats.ts";
import { createJobWaits } from "./jobWaits.ts";
import { cancelOf, type MoveJobs } from "./moveJobs.ts";
import { findSpec, listSteps, readSteps } from "./stepQueries.ts";
import { type Accepted, type CheckedJob, checkRequest } from "./submitJobs.ts";
import { checkTemplateJobs, type TemplateRequest } from "./useTemplate.ts";

interface JobServiceOptions {
  readonly pool: Pool;
  readonly nats: NatsConnection;
  readonly accept: (job: CheckedJob) => Promise<Accepted>;
  readonly moveJobs: MoveJobs;
}

const maxBatch = 1_000;
const maxWaitMs = 600_000;

export function createJobService({ pool, nats, accept, moveJobs }: JobServiceOptions): JobServiceServer {
  /** An id that cannot be one is as unknown as one that was never given out. */
  async function readJob(jobId: string, { tenant }: Call): Promise<JobView> {
    if (jobId === "") throw invalid([{ field: "job_id", description: "is required" }]);
    const job = isUuid(jobId) ? (await getJobs(pool, tenant, [jobId])).get(jobId.toLowerCase()) : undefined;
    if (job === undefined) throw notFound("job", jobId.slice(0, 64));
    return job;
  }

  /** Those with a template that come together are looked up together. */
  const checkTemplateJob = coalesce((requests: readonly TemplateRequest[]) =>
    checkTemplateJobs(pool, requests, new Date()),
  );

  async function check(request: SubmitJobRequest, call: Call, at = ""): Promise<CheckedJob> {
    if (request.template === undefined) return checkRequest(request, call, new Date(), at);
    const checked = await checkTemplateJob({ request, origin: originOf(call), at });
    if (checked instanceof DomainError) throw checked;
    return checked;
  }

  async function submitOne(request: SubmitJobRequest, call: Call, at: string): Promise<SubmitJobResult> {
    try {
      const checked = await check(request, call, at);
      if (request.validateOnly) return acceptedResult({ jobId: "", createTime: null, existed: false }, checked);
      return acceptedResult(await accept(checked), checked);
    } catch (error) {
      if (error instanceof DomainError) return refusedResult(error);
      throw error;
    }
  }

  return {
    submitJob: unary(async (request, call) => {
      const checked = await check(request, call);
      const warnings = [...checked.warnings];
      if (request.validateOnly)
        return { job: { ...firstViewOf(checked, new Date()), id: "" }, existed: false, warnings };
      const { jobId, createTime, existed, begun } = await accept(checked);
      // As it was when it was accepted: reading it back would cost more than accepting it.
      if (createTime !== null && begun === undefined)
        return { job: firstViewOf(checked, createTime), existed, warnings };
      return { job: toMessage(await readJob(jobId, call)), existed, warnings };
    }),

    submitJobs: unary(async ({ requests }, call) => {
      if (requests.length < 1 || requests.length > maxBatch) {
        throw invalid([
          { field: "requests", description: `has ${requests.length} items; it must have 1 to ${maxBatch}` },
        ]);
      }
      const results = requests.map((request, index) => submitOne(request, call, `requests[${index}].`));
      return { results: await Promise.all(results) };
    }),

    getJob: unary(async ({ jobId }, call) => ({ job: toMessage(await readJob(jobId, call)) })),

    listJobs: unary(async (request, { tenant }) => {
      const { filter, orderBy } = request;
      const order = jobOrders.find((candidate) => candidate === (orderBy || "create_time desc"));
      if (order === undefined) {
        throw invalid([{ field: "order_by", description: `must be one of: ${jobOrders.join(", ")}` }]);
      }
      const query = { list: "jobs", tenant, filter, order };
      const limit = pageSize(request.pageSize);
      const listed = await listJobs(pool, {
        tenant,
        order,
        filter: filter === "" ? null : parseFilter(filter, filterFields),
        cursor: decodePageToken(request.pageToken, query),
        limit: limit + 1,
      });
      const page = fitPage(listed, limit, ({ bytes }) => bytes);
      const last = listed.length > page.length ? page.at(-1) : undefined;
      const ids = page.map(({ id }) => id);
      const jobs = ids.length === 0 ? new Map<string, JobView>() : await getJobs(pool, tenant, ids, 0);
      return {
        jobs: ids.flatMap((id) => jobs.get(id) ?? []).map(toMessage),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.key, last.id]),
      };
    }),

    watchJob: serverStream(async function* ({ jobId, afterSequence }, call): AsyncGenerator<WatchJobResponse> {
      if (afterSequence < 0) throw invalid([{ field: "after_sequence", description: "must not be negative" }]);
      const job = await readJob(jobId, call);
      if (isJobTerminal(job.state) && afterSequence >= job.sequence) return;
      for await (const fact of followJob({ db: pool, nats }, job, afterSequence, call.signal)) {
        yield { event: eventMessage(fact) };
      }
    }),

    waitJob: unary(async ({ jobId, timeout }, call) => {
      checkWait(timeout);
      const job = await readJob(jobId, call);
      if (!isJobTerminal(job.state)) await endOf(job, waitSignal(durationMs(timeout) || 30_000, call));
      const after = await readJob(jobId, call);
      return { job: toMessage(after), done: isJobTerminal(after.state) };
    }),

    cancelJob: unary(async ({ jobId, message }, call) => {
      const violations: { field: string; description: string }[] = [];
      checkLine(message, "message", 256, (field, description) => violations.push({ field, description }));
      if (violations.length > 0) throw invalid(violations);
      const { id } = await readJob(jobId, call);
      const cause = { reason: "CANCELLED_BY_USER", message };
      await moveJobs([id], (job, now, flow) => cancelOf(job, cause, call.requestId, now, flow));
      return { job: toMessage(await readJob(id, call)) };
    }),

    ...createJobStats({ pool }),
    ...createJobWaits({ pool, moveJobs, readJob }),
    ...createJobRepeats({ accept, readJob }),

    listSteps: unary(async (request, { tenant }) => {
      const { jobId, parentStep } = request;
      if (jobId === "") throw invalid([{ field: "job_id", description: "is required" }]);
      const spec = isUuid(jobId) ? await findSpec(pool, tenant, jobId) : undefined;
      if (spec === undefined) throw notFound("job", jobId.slice(0, 64));
      const query = { list: "steps", jobId: jobId.toLowerCase(), parentStep };
      const [position, itemIndex] = decodePageToken(request.pageToken, query)?.map(Number) ?? [];
      const limit = pageSize(request.pageSize);
      const listed = await listSteps(pool, {
        jobId,
        parent: parentStep,
        cursor: [position ?? -1, itemIndex ?? -1],
        limit: limit + 1,
      });
      const page = fitPage(listed, limit, ({ bytes }) => bytes);
      const last = listed.length > page.length ? page.at(-1) : undefined;
      const names = page.map(({ name }) => name);
      const { steps, items, open } = await readSteps(pool, jobId, names);
      const views = names.flatMap((name) => steps.get(name) ?? []);
      return {
        steps: stepMessages(JobSpec.fromJSON(JSON.parse(spec)), views, items, (name) => open.has(name)),
        nextPageToken:
          last === undefined ? "" : encodePageToken(query, [String(last.position), String(last.itemIndex)]),
      };
    }),

    listJobEvents: unary(async (request, call) => {
      const job = await readJob(request.jobId, call);
      const query = { list: "job events", jobId: job.id };
      const after = Number(decodePageToken(request.pageToken, query)?.[0] ?? 0);
      const limit = pageSize(request.pageSize);
      const facts = await listFacts(pool, job.id, after, limit + 1);
      const page = fitPage(facts, limit, ({ json }) => Buffer.byteLength(json));
      return {
        events: page.map(eventMessage),
        nextPageToken: facts.length > page.length ? encodePageToken(query, [String(page.at(-1)?.sequence)]) : "",
      };
    }),
  };

  /** Resolves when the job has ended or the signal aborts. */
  async function endOf(job: JobView, signal: AbortSignal): Promise<void> {
    const facts = followJob({ db: pool, nats }, job, job.sequence, signal);
    try {
      // It ends after the terminal fact; what comes before does not matter here.
      while (!(await facts.next()).done);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

function originOf({ tenant, traceparent }: Call) {
  return { tenant, traceparent };
}

/** Aborts a little before the caller stops waiting, so that it still gets the answer. */
function waitSignal(waitMs: number, { deadline, signal }: Call): AbortSignal {
  const left = deadline === null ? waitMs : Math.min(waitMs, deadline.getTime() - Date.now() - 100);
  return AbortSignal.any([signal, AbortSignal.timeout(Math.max(0, left))]);
}

function checkWait(timeout: Parameters<typeof durationMs>[0]): void {
  const violations: { field: string; description: string }[] = [];
  const refuse = (field: string, description: string) => violations.push({ field, description });
  checkDuration(timeout, "timeout", { minMs: 1, maxMs: maxWaitMs }, refuse);
  if (violations.length > 0) throw invalid(violations);
}

function acceptedResult(accepted: Accepted, { warnings }: CheckedJob): SubmitJobResult {
  return { outcome: { $case: "accepted", value: { ...accepted, warnings: [...warnings] } } };
}

function refusedResult({ code, reason, message, fields, metadata, retryAfterMs }: DomainError): SubmitJobResult {
  const retryAfter = retryAfterMs === null ? undefined : durationOfMs(retryAfterMs);
  const refused = { code, reason, message, fields: [...fields], jobId: metadata["jobId"] ?? "", retryAfter };
  return { outcome: { $case: "refused", value: refused } };
}

/** A job that has just been accepted, or would be, with `validate_only`. */
function firstViewOf({ job, completedSpec, timeoutMs, idempotencyKey, retryOf, template }: CheckedJob, time: Date) {
  return toMessage({
    ...job,
    spec: JobSpec.toJSON(completedSpec),
    stateTime: time,
    createTime: time,
    startTime: null,
    endTime: null,
    deadlineTime: timeoutMs === null ? null : new Date(time.getTime() + timeoutMs),
    retryOf,
    rerunOf: null,
    parentJobId: null,
    parentStep: null,
    idempotencyKey,
    template: template?.name ?? null,
    templateVersion: template?.version ?? null,
    steps: job.steps.map((step) => ({
      ...step,
      stateTime: time.toISOString(),
      dueTime: step.dueTime?.toISOString() ?? null,
      startTime: null,
      endTime: null,
    })),
    items: null,
  });
}
