/** The RPCs that run a job again, as a new job that says which it comes from. */
import { createHash } from "node:crypto";
import { DomainError, invalid } from "@capstan/errors";
import { type Call, unary } from "@capstan/grpc";
import { type JobServiceServer, SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkJson, maxInputBytes } from "./handlerSpec.ts";
import { assertRetriable, isJobTerminal } from "./job.ts";
import { toMessage } from "./jobMessage.ts";
import { sortedJson } from "./jobProto.ts";
import type { JobView } from "./jobQueries.ts";
import { keptSteps } from "./restart.ts";
import { type Accepted, type CheckedJob, checkRequest } from "./submitJobs.ts";

interface JobRepeatsOptions {
  readonly accept: (job: CheckedJob) => Promise<Accepted>;
  readonly readJob: (jobId: string, call: Call) => Promise<JobView>;
}

export function createJobRepeats({
  accept,
  readJob,
}: JobRepeatsOptions): Pick<JobServiceServer, "retryJob" | "rerunJob"> {
  return {
    retryJob: unary(async ({ jobId, requestId, fromFailed }, call) => {
      const old = await readJob(jobId, call);
      assertRetriable(old);
      const request = SubmitJobRequest.fromPartial({ spec: JobSpec.fromJSON(old.spec), requestId });
      const origin = { ...originOf(call), retryOf: old.id, template: templateOf(old) };
      // The same request id for another kind of retry is another request.
      const hash = fromFailed ? { requestHash: hashOfAll("from_failed", old.id) } : {};
      const checked = checkRequest(request, { ...origin, ...hash }, new Date());
      const accepted = await accept(fromFailed ? withKept(checked, old) : checked);
      return { job: toMessage(await readJob(accepted.jobId, call)) };
    }),

    rerunJob: unary(async ({ jobId, input, requestId }, call) => {
      const violations: { field: string; description: string }[] = [];
      checkJson(input, "input", maxInputBytes, (field, description) => violations.push({ field, description }));
      if (violations.length > 0) throw invalid(violations);
      const old = await readJob(jobId, call);
      assertEnded(old);
      const was = JobSpec.fromJSON(old.spec);
      const isNew = input !== undefined && input !== null;
      const spec = isNew ? { ...was, input } : was;
      const request = SubmitJobRequest.fromPartial({ spec, requestId });
      // With another input it is no run of the template: nobody has held that against its parameters.
      const template = isNew ? null : templateOf(old);
      const requestHash = hashOfAll("rerun", old.id, input ?? null);
      const origin = { ...originOf(call), rerunOf: old.id, template, requestHash };
      const accepted = await accept(checkRequest(request, origin, new Date()));
      return { job: toMessage(await readJob(accepted.jobId, call)) };
    }),
  };
}

function withKept(checked: CheckedJob, old: JobView): CheckedJob {
  const names = checked.plan === null ? [] : keptSteps(checked.plan, old.steps);
  return names.length === 0 ? checked : { ...checked, kept: { jobId: checked.job.id, fromJobId: old.id, names } };
}

function assertEnded({ id, state }: JobView): void {
  if (isJobTerminal(state)) return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "JOB_HAS_NOT_ENDED",
    message: `job ${id} is ${state}; only a job that has ended can be run again`,
    metadata: { jobId: id, state },
  });
}

/** It is a run of the same template. */
function templateOf({ template, templateVersion }: JobView) {
  return template === null || templateVersion === null ? null : { name: template, version: templateVersion };
}

function originOf({ tenant, traceparent }: Call) {
  return { tenant, traceparent };
}

function hashOfAll(...said: readonly unknown[]): Uint8Array {
  return createHash("sha256").update(sortedJson(said)).digest();
}
