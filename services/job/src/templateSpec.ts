/** What a template may say: every bad field at once, as paths below `at`. */
import type { FieldViolation } from "@capstan/errors";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import { checkText, type Refuse } from "./fieldChecks.ts";
import { checkSpec } from "./jobSpec.ts";
import { checkParameters } from "./templateParameter.ts";

const name = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const maxTemplateBytes = 320 * 1024;

/** Whether it may name a template or a schedule. */
export function isName(text: string): boolean {
  return name.test(text);
}

export function checkName(text: string, refuse: Refuse): void {
  if (text === "") refuse("name", "is required");
  else if (!isName(text)) refuse("name", `must match ${name.source}`);
}

/** `now` is only used to bound times in the job. */
export function checkTemplate(spec: TemplateSpec | undefined, at: string, now: Date): readonly FieldViolation[] {
  if (spec === undefined) return [{ field: at, description: "is required" }];
  const bytes = TemplateSpec.encode(spec).finish().length;
  if (bytes > maxTemplateBytes)
    return [{ field: at, description: `is ${bytes} bytes; the limit is ${maxTemplateBytes}` }];
  const violations: FieldViolation[] = [];
  const refuse: Refuse = (field, description) => violations.push({ field: `${at}.${field}`, description });
  checkText(spec.description, "description", 4_096, refuse);
  checkParameters(spec.parameters, (field, description) => refuse(`parameters${field}`, description));
  if (spec.job?.input !== undefined && spec.job.input !== null) {
    refuse("job.input", "is made of the parameters; it cannot be given");
  }
  const named = spec.job === undefined ? undefined : { ...spec.job, name: spec.job.name || "template" };
  return [...violations, ...checkSpec(named, `${at}.job`, now)];
}

/** A good spec of the template of that name, as it is kept. */
export function completeTemplate(spec: TemplateSpec, template: string): TemplateSpec {
  const job = spec.job ?? JobSpec.fromPartial({});
  return { ...spec, job: { ...job, name: job.name || template } };
}
