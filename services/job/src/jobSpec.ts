/**
 * What a spec may say. `checkSpec` names every bad field with its limit at once; `completeSpec` fills in the defaults, so
 * that what is stored is what will happen. The limits are those that the comments of `spec.proto` promise.
 */
import type { FieldViolation } from "@capstan/errors";
import { JobSpec, type StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import {
  checkDuration,
  checkEnum,
  checkLine,
  checkRange,
  checkText,
  durationMs,
  type Refuse,
  shownKey,
} from "./fieldChecks.ts";
import { checkHandler, checkInput, inputBytes, maxInputBytes } from "./handlerSpec.ts";
import { checkPlacement, checkRetry } from "./stepPolicy.ts";

/** Encoded, inputs of handlers apart. */
export const maxSpecBytes = 256 * 1024;
/** A fact carries the spec as JSON, which can be six times as long as its message; a message on NATS has its own limit. */
export const maxSpecJsonBytes = 400 * 1024;
const maxStdinBytes = 64 * 1024;
const maxScriptBytes = 128 * 1024;
const day = 86_400_000;

const labelKey = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/;
const stepName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const envName = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** Every bad field of a spec, as paths below `at`; empty if it is good. `now` is only used to bound `not_before`. */
export function checkSpec(spec: JobSpec | undefined, at: string, now: Date): readonly FieldViolation[] {
  if (spec === undefined) return [{ field: at, description: "is required" }];
  const violations: FieldViolation[] = [];
  const refuse: Refuse = (field, description) => violations.push({ field: `${at}.${field}`, description });
  const inputs = spec.steps.map(inputBytes);
  const size = checkSize(spec, inputs);
  if (size !== null) return [{ field: at, description: size }];
  checkLine(spec.name, "name", 128, refuse, { required: true });
  checkLine(spec.source, "source", 256, refuse);
  checkMap(spec.labels, "labels", 256, refuse);
  checkMap(spec.annotations, "annotations", 4_096, refuse);
  checkDuration(spec.timeout, "timeout", { minMs: 1, maxMs: 30 * day }, refuse);
  checkRange(spec.priority, "priority", -100, 100, refuse);
  checkNotBefore(spec.notBefore, now, refuse);
  if (spec.steps.length === 0) refuse("steps", "needs one step");
  if (spec.steps.length > 1) refuse("steps", `has ${spec.steps.length} steps; this version runs jobs of one step`);
  for (const [index, step] of spec.steps.entries()) {
    const refuseOfStep: Refuse = (field, description) => refuse(`steps[${index}].${field}`, description);
    checkStep(step, refuseOfStep);
    checkInput(step, inputs[index] ?? 0, refuseOfStep);
  }
  return violations;
}

/** What is wrong with the size of a whole spec; null if it is good, or if an input is too large, which is told of that field. */
function checkSize(spec: JobSpec, inputs: readonly number[]): string | null {
  const rest = inputs.some((size) => size > 0)
    ? { ...spec, steps: spec.steps.map((step) => ({ ...step, input: undefined })) }
    : spec;
  const bytes = JobSpec.encode(rest).finish().length;
  if (bytes > maxSpecBytes) return `is ${bytes} bytes; the limit is ${maxSpecBytes}`;
  if (inputs.some((size) => size > maxInputBytes)) return null;
  if (inputs.reduce((sum, size) => sum + size, bytes * 6) <= maxSpecJsonBytes) return null;
  const jsonBytes = Buffer.byteLength(JSON.stringify(JobSpec.toJSON(spec)));
  return jsonBytes > maxSpecJsonBytes ? `is ${jsonBytes} bytes as JSON; the limit is ${maxSpecJsonBytes}` : null;
}

function checkNotBefore(notBefore: Date | undefined, now: Date, refuse: Refuse): void {
  if (notBefore === undefined) return;
  if (Number.isNaN(notBefore.getTime())) refuse("not_before", "is not a time");
  else if (notBefore.getTime() > now.getTime() + 366 * day) refuse("not_before", "is more than 366 days ahead");
}

function checkStep(step: StepSpec, refuse: Refuse): void {
  if (step.name !== "" && !stepName.test(step.name)) refuse("name", `must match ${stepName.source}`);
  checkHandler(step, refuse);
  checkProgram(step, refuse);
  checkEnv(step.env, refuse);
  if (step.workingDirectory !== "" && !step.workingDirectory.startsWith("/")) {
    refuse("working_directory", "must be an absolute path");
  }
  checkText(step.workingDirectory, "working_directory", 4_096, refuse);
  if (step.stdin.length > maxStdinBytes)
    refuse("stdin", `is ${step.stdin.length} bytes; the limit is ${maxStdinBytes}`);
  checkRange(step.resources?.cpuMillis ?? 0, "resources.cpu_millis", 0, 1_024_000, refuse);
  checkRange(step.resources?.memoryMib ?? 0, "resources.memory_mib", 0, 16_777_216, refuse);
  checkRange(step.resources?.slots ?? 0, "resources.slots", 0, 1_000, refuse);
  checkDuration(step.startTimeout, "start_timeout", { minMs: 1_000, maxMs: day }, refuse);
  checkDuration(step.runTimeout, "run_timeout", { minMs: 1, maxMs: 30 * day }, refuse);
  checkDuration(step.stopGrace, "stop_grace", { minMs: 1, maxMs: 600_000 }, refuse);
  checkEnum(step.network, "network", refuse);
  if (step.placement !== undefined) checkPlacement(step.placement, refuse);
  if (step.retry !== undefined) checkRetry(step.retry, refuse);
}

function checkProgram({ command, args, script, image, handler }: StepSpec, refuse: Refuse): void {
  if (command.length === 0 && script === undefined && image === "" && handler === "") {
    refuse("command", "is empty; give a command, a script, an image or a handler");
  }
  if (command.length > 0 && script !== undefined) refuse("script", "cannot be given together with command");
  if (command[0] === "") refuse("command[0]", "is empty; it names the program");
  if (command.length + args.length > 1_024) refuse("args", "has more than 1,024 arguments with command");
  for (const [index, argument] of command.entries()) checkText(argument, `command[${index}]`, 131_072, refuse);
  for (const [index, argument] of args.entries()) checkText(argument, `args[${index}]`, 131_072, refuse);
  if (script !== undefined) {
    if (script.content === "") refuse("script.content", "is empty");
    checkText(script.content, "script.content", maxScriptBytes, refuse);
    if (script.interpreter.length > 16) refuse("script.interpreter", "has more than 16 parts");
    for (const [index, part] of script.interpreter.entries()) {
      checkText(part, `script.interpreter[${index}]`, 4_096, refuse, { required: true });
    }
  }
  checkLine(image, "image", 512, refuse);
  if (/\s/.test(image)) refuse("image", "must not contain white space");
}

function checkEnv(env: Readonly<Record<string, string>>, refuse: Refuse): void {
  const entries = Object.entries(env);
  if (entries.length > 256) return refuse("env", `has ${entries.length} variables; the limit is 256`);
  for (const [name, value] of entries) {
    if (!envName.test(name)) refuse(`env[${shownKey(name)}]`, `names must match ${envName.source}`);
    else if (name.startsWith("CAPSTAN_")) refuse(`env[${name}]`, "names that begin with CAPSTAN_ are reserved");
    checkText(value, `env[${shownKey(name)}]`, 131_072, refuse);
  }
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
