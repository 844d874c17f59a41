/** The jobs that schedules submit: each run as a request, checked like one of a user, and told of its schedule in its input. */
import { createHash } from "node:crypto";
import { DomainError, type FieldViolation } from "@capstan/errors";
import type { Db } from "@capstan/postgres";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { SubmitOrigin } from "./birth.ts";
import type { Schedule } from "./schedule.ts";
import { type CheckedJob, checkRequest } from "./submitJobs.ts";
import { scheduleKey } from "./templateParameter.ts";
import { checkTemplateJobs } from "./useTemplate.ts";

/** A run of a schedule, as somebody or the clock asks for it. */
export interface Run {
  readonly schedule: Pick<Schedule, "id" | "tenant" | "name" | "spec">;
  readonly time: Date;
  /** Not by the plan: somebody asked for it. Such runs may come at the time of another. */
  readonly triggered?: { readonly requestId: string; readonly traceparent: string | null };
}

/** Runs as jobs that can be written, or why not, in their order; at most one statement for all. */
export async function checkRuns(
  db: Db,
  runs: readonly Run[],
  now: Date,
): Promise<readonly (CheckedJob | DomainError)[]> {
  const requests = runs.map((run) => ({ request: requestOf(run), origin: originOf(run), at: "" }));
  const fromTemplates = requests.filter(({ request }) => request.template !== undefined);
  const checked = fromTemplates.length === 0 ? [] : await checkTemplateJobs(db, fromTemplates, now);
  const answers = new Map(fromTemplates.map((request, index) => [request, checked[index]]));
  return requests.map((one) => answers.get(one) ?? checkInline(one.request, one.origin, now));
}

function checkInline(request: SubmitJobRequest, origin: SubmitOrigin, now: Date): CheckedJob | DomainError {
  try {
    return checkRequest(request, origin, now);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

function requestOf({ schedule, time, triggered }: Run): SubmitJobRequest {
  const { name, spec } = schedule;
  const job = spec.job ?? JobSpec.fromPartial({});
  const source = job.source || `schedule ${name}`;
  const requestId = triggered?.requestId ?? "";
  if (spec.template !== undefined) {
    return { ...emptyRequest, requestId, template: spec.template, spec: { ...job, source } };
  }
  const input = { ...(job.input as object | undefined), [scheduleKey]: inputOf(schedule, time) };
  return { ...emptyRequest, requestId, spec: { ...job, name: job.name || name, source, input } };
}

const emptyRequest: SubmitJobRequest = SubmitJobRequest.fromPartial({});

function originOf({ schedule, time, triggered }: Run): SubmitOrigin {
  const { id, tenant } = schedule;
  return {
    tenant,
    traceparent: triggered?.traceparent ?? null,
    schedule: { id, time: triggered === undefined ? time : null },
    scheduleInput: inputOf(schedule, time),
    // A repeated request is for the same run, whatever time it is by then.
    requestHash: createHash("sha256").update(`schedule ${id}`).digest(),
  };
}

function inputOf({ id, name }: Run["schedule"], time: Date) {
  return { id, name, time: time.toISOString() };
}

/** What is wrong with the job of a schedule, as paths below `spec`; throws what is not about a field, as that of a template. */
export async function checkJobOf(db: Db, schedule: Run["schedule"], now: Date): Promise<readonly FieldViolation[]> {
  if (schedule.spec.job === undefined && schedule.spec.template === undefined) return [];
  const [checked] = await checkRuns(db, [{ schedule, time: now }], now);
  if (!(checked instanceof DomainError)) return [];
  if (checked.fields.length === 0) throw checked;
  return checked.fields.map(({ field, description }) => ({
    field: `spec.${field.replace(/^spec\b/, "job")}`,
    description,
  }));
}
