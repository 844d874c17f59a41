/**
 * What a spec may say. `checkSpec` names every bad field with its limit at once; `completeSpec` fills in the defaults, so
 * that what is stored is what will happen. The limits are those that the comments of `spec.proto` promise.
 */
import type { FieldViolation } from "@capstan/errors";
import { JobSpec, type StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkDuration, checkLine, checkRange, checkText, durationMs, type Refuse, shownKey } from "./fieldChecks.ts";
import { type MeasuredJson, maxInputBytes, measureJson } from "./handlerSpec.ts";
import { checkStep } from "./stepSpec.ts";
import { waitOf } from "./waitSpec.ts";
import { checkJobInput, checkQueue, checkWorkflow, isPlain, maxSteps } from "./workflowSpec.ts";

/** Encoded, inputs apart. */
export const maxSpecBytes = 256 * 1024;
/** A fact carries the spec as JSON, which can be six times as long as its message; a message on NATS has its own limit. */
export const maxSpecJsonBytes = 400 * 1024;
const day = 86_400_000;

const labelKey = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/;
/** Every bad field of a spec, as paths below `at`; empty if it is good. `now` is only used to bound `not_before`. */
export function checkSpec(spec: JobSpec | undefined, at: string, now: Date): readonly FieldViolation[] {
  if (spec === undefined) return [{ field: at, description: "is required" }];
  const count = spec.steps.length;
  if (count > maxSteps) {
    return [{ field: `${at}.steps`, description: `has ${count} steps; the limit is ${maxSteps}` }];
  }
  const violations: FieldViolation[] = [];
  const refuse: Refuse = (field, description) => violations.push({ field: `${at}.${field}`, description });
  const inputs = spec.steps.map(({ input }) => measureJson(input));
  const input = measureJson(spec.input);
  const size = measure(spec, [input, ...inputs]);
  if (size.problem !== null) return [{ field: at, description: size.problem }];
  checkLine(spec.name, "name", 128, refuse, { required: true });
  checkLine(spec.source, "source", 256, refuse);
  checkMap(spec.labels, "labels", 256, refuse);
  checkMap(spec.annotations, "annotations", 4_096, refuse);
  checkDuration(spec.timeout, "timeout", { minMs: 1, maxMs: 30 * day }, refuse);
  checkRange(spec.priority, "priority", -100, 100, refuse);
  checkNotBefore(spec.notBefore, now, refuse);
  checkQueue(spec, refuse);
  checkJobInput(input.bytes, refuse);
  if (count === 0) refuse("steps", "needs at least one step");
  for (const [index, step] of spec.steps.entries()) {
    const refuseOfStep: Refuse = (field, description) => refuse(`steps[${index}].${field}`, description);
    checkStep(step, inputs[index]?.bytes ?? 0, refuseOfStep);
  }
  if (!isPlain(spec, size.holdsTemplate)) checkWorkflow(spec, refuse);
  return violations;
}

interface Measured {
  /** What is wrong with the size; null if it is good, or if an input is too large, which is told of that field. */
  readonly problem: string | null;
  readonly holdsTemplate: boolean;
}

/** Looks at a whole spec as it is encoded, where a search for expressions costs next to nothing. */
function measure(spec: JobSpec, inputs: readonly MeasuredJson[]): Measured {
  const rest = inputs.some(({ bytes }) => bytes > 0)
    ? { ...spec, input: undefined, steps: spec.steps.map((step) => ({ ...step, input: undefined })) }
    : spec;
  const encoded = JobSpec.encode(rest).finish();
  const bytes = encoded.length;
  const holdsTemplate = inputs.some((input) => input.holdsTemplate) || mayHoldTemplate(encoded);
  const good: Measured = { problem: null, holdsTemplate };
  if (bytes > maxSpecBytes) return { ...good, problem: `is ${bytes} bytes; the limit is ${maxSpecBytes}` };
  if (inputs.some((input) => input.bytes > maxInputBytes)) return good;
  if (inputs.reduce((sum, input) => sum + input.bytes, bytes * 6) <= maxSpecJsonBytes) return good;
  const jsonBytes = Buffer.byteLength(JSON.stringify(JobSpec.toJSON(spec)));
  if (jsonBytes <= maxSpecJsonBytes) return good;
  return { ...good, problem: `is ${jsonBytes} bytes as JSON; the limit is ${maxSpecJsonBytes}` };
}

/** A first look for the one character is all that most specs cost. */
function mayHoldTemplate(encoded: Uint8Array): boolean {
  const at = encoded.indexOf(36);
  return at >= 0 && Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength).includes("${{", at);
}

function checkNotBefore(notBefore: Date | undefined, now: Date, refuse: Refuse): void {
  if (notBefore === undefined) return;
  if (Number.isNaN(notBefore.getTime())) refuse("not_before", "is not a time");
  else if (notBefore.getTime() > now.getTime() + 366 * day) refuse("not_before", "is more than 366 days ahead");
}

function checkMap(map: Readonly<Record<string, string>>, field: string, maxLength: number, refuse: Refuse): void {
  const entries = Object.entries(map);
  if (entries.length > 64) return refuse(field, `has ${entries.length} entries; the limit is 64`);
  for (const [key, value] of entries) {
    if (!labelKey.test(key)) refuse(`${field}[${shownKey(key)}]`, `keys must match ${labelKey.source}`);
    checkText(value, `${field}[${shownKey(key)}]`, maxLength, refuse);
  }
}

/** A good spec with its defaults filled in. */
export function completeSpec(spec: JobSpec): JobSpec {
  const steps = spec.steps.map((step): StepSpec => {
    // Of what runs nothing there is nothing to complete.
    if (waitOf(step) !== null) return { ...step, name: step.name || "main" };
    const script = step.script && {
      ...step.script,
      interpreter: step.script.interpreter.length > 0 ? step.script.interpreter : ["sh"],
    };
    return {
      ...step,
      script,
      name: step.name || "main",
      resources: { cpuMillis: 0, memoryMib: 0, ...step.resources, slots: step.resources?.slots || 1 },
      startTimeout:
        step.startTimeout && durationMs(step.startTimeout) > 0 ? step.startTimeout : { seconds: 300, nanos: 0 },
      stopGrace: step.stopGrace && durationMs(step.stopGrace) > 0 ? step.stopGrace : { seconds: 10, nanos: 0 },
    };
  });
  return { ...spec, steps };
}
