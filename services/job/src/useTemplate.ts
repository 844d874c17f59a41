/**
 * Jobs from templates. The parameters become the job's input, as values: the template's text is never touched, so that whatever a
 * parameter holds stays what it is.
 */
import { DomainError, type FieldViolation, invalid, notFound } from "@capstan/errors";
import type { Db } from "@capstan/postgres";
import type { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec, type TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { SubmitOrigin } from "./birth.ts";
import { maxInputBytes } from "./handlerSpec.ts";
import { hashOfUse } from "./jobProto.ts";
import { type CheckedJob, checkRequest } from "./submitJobs.ts";
import { assertUsable, type Template } from "./template.ts";
import { fillParameters, scheduleKey } from "./templateParameter.ts";
import { isName } from "./templateSpec.ts";
import { type FoundTemplate, findUsedTemplates } from "./templateStore.ts";

/** A request that names a template, who makes it, and where its fields stand in what a caller has sent. */
export interface TemplateRequest {
  readonly request: SubmitJobRequest;
  readonly origin: SubmitOrigin;
  /** The path before its fields, as in `requests[3].`; empty for a request of its own. */
  readonly at: string;
}

/** What a schedule tells its jobs of itself, as `input.schedule`. */
interface ScheduleInput {
  readonly id: string;
  readonly name: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

/**
 * Requests with a template as jobs that can be written, or why not, in their order; one statement for all. Whoever makes jobs from
 * templates comes here: SubmitJob, schedules, steps that are sub-jobs. `db` may be a transaction.
 */
export async function checkTemplateJobs(
  db: Db,
  requests: readonly TemplateRequest[],
  now: Date,
): Promise<readonly (CheckedJob | DomainError)[]> {
  const wanted = requests.map(({ request: { template }, origin: { tenant } }) => ({
    tenant,
    name: isName(template?.name ?? "") ? (template?.name ?? "") : "",
    version: template?.version ?? 0,
  }));
  const found = await findUsedTemplates(db, wanted);
  return requests.map((request, index) => {
    try {
      return checkOne(request, found[index] ?? { template: null, isKnown: false }, now);
    } catch (error) {
      if (error instanceof DomainError) return error;
      throw error;
    }
  });
}

function checkOne({ request, origin, at }: TemplateRequest, { template, isKnown }: FoundTemplate, now: Date) {
  const { template: use, spec: given } = request;
  if (use === undefined) throw new Error("a request without a template");
  if (use.name === "") throw invalid([{ field: `${at}template.name`, description: "is required" }]);
  if (use.version < 0) throw invalid([{ field: `${at}template.version`, description: "must not be negative" }]);
  if (template === null) throw isKnown && use.version === 0 ? unpublished(use) : missing(use);
  const warnings = assertUsable(template);
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string) => violations.push({ field: `${at}${field}`, description });
  if (given !== undefined) checkOverrides(given, (field, description) => refuse(`spec.${field}`, description));
  const input = inputOf(template, use, (field, description) => refuse(`template.parameters${field}`, description));
  const job = template.spec.job ?? JobSpec.fromPartial({});
  const spec = { ...override(job, given), input: { ...input, ...scheduleInput(origin) } };
  const hash = origin.requestHash ?? hashOfUse(use, given);
  const named = { name: template.name, version: template.version };
  try {
    const checked = checkRequest({ ...request, spec }, { ...origin, template: named, requestHash: hash }, now, at);
    if (violations.length > 0) throw invalid(violations);
    return { ...checked, warnings };
  } catch (error) {
    if (!(error instanceof DomainError) || error.fields.length === 0) throw error;
    throw invalid([...new Set([...violations, ...error.fields])]);
  }
}

/** The parameters under their names. Not checked one by one when they are too large together. */
function inputOf(
  { spec: { parameters } }: Template,
  use: TemplateUse,
  refuse: (field: string, description: string) => void,
): Record<string, unknown> {
  const given: Record<string, unknown> = use.parameters ?? {};
  const bytes = Buffer.byteLength(JSON.stringify(given));
  if (bytes > maxInputBytes) {
    refuse("", `are ${bytes} bytes as JSON; the limit is ${maxInputBytes}`);
    return {};
  }
  return fillParameters(parameters, given, (field, description) => refuse(`.${field}`, description));
}

function scheduleInput({ scheduleInput: told }: SubmitOrigin): { readonly [scheduleKey]?: ScheduleInput } {
  return told === undefined ? {} : { [scheduleKey]: told };
}

/** What a request may say of a job beside its template. */
const overridable = [
  "name",
  "labels",
  "annotations",
  "priority",
  "notBefore",
  "timeout",
  "source",
  "queue",
  "concurrencyKey",
] as const satisfies readonly (keyof JobSpec)[];

/** The fields that were given, by their names in the contract. */
function givenFields(spec: JobSpec): ReadonlyMap<keyof JobSpec, string> {
  const json = JobSpec.toJSON(spec) as Record<string, unknown>;
  return new Map(
    Object.keys(json).map((key) => [
      key as keyof JobSpec,
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    ]),
  );
}

function checkOverrides(spec: JobSpec, refuse: (field: string, description: string) => void): void {
  const allowed: ReadonlySet<string> = new Set(overridable);
  for (const [key, field] of givenFields(spec)) {
    if (!allowed.has(key)) refuse(field, "cannot be given together with template");
  }
}

/** The template's job with what was given in its place; labels and annotations by their keys. */
function override(job: JobSpec, given: JobSpec | undefined): JobSpec {
  if (given === undefined) return job;
  const fields = givenFields(given);
  const changed = Object.fromEntries(
    overridable.filter((key) => fields.has(key)).map((key) => [key, given[key]]),
  ) as Partial<JobSpec>;
  return {
    ...job,
    ...changed,
    labels: { ...job.labels, ...given.labels },
    annotations: { ...job.annotations, ...given.annotations },
  };
}

function unpublished({ name }: TemplateUse): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "TEMPLATE_NOT_PUBLISHED",
    message: `no version of template ${name} is PUBLISHED`,
    metadata: { template: name },
  });
}

function missing({ name, version }: TemplateUse): DomainError {
  return notFound("template", version === 0 ? name.slice(0, 64) : `${name.slice(0, 64)}@${version}`);
}
