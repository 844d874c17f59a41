/**
 * What a step with a handler may say. The handler runs inside a worker that a user has started, so that everything about how a
 * process is started has no meaning there and is refused rather than ignored.
 */
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Refuse } from "./fieldChecks.ts";

/** Of an input as JSON in UTF-8. */
export const maxInputBytes = 256 * 1024;
/** Lists and objects in each other. Protobuf readers give up at 100 messages, and a level is up to three of them. */
export const maxInputDepth = 24;

/** Also of signals. */
export const handlerName = /^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,126}[a-zA-Z0-9])?$/;

/** A value as JSON, looked at once. */
export interface MeasuredJson {
  /** 0 without a value, infinite when it is nested too deep or has what cannot be kept: see `notKept`. */
  readonly bytes: number;
  /** True if a text in it may hold an expression. */
  readonly holdsTemplate: boolean;
}

/** What is wrong with a value whose length is infinite. The database cannot read NUL out of JSON, nor half a character. */
export const notKept = `nested more than ${maxInputDepth} levels deep, or with a number that is not finite, or a text with NUL or malformed Unicode`;

const nothing: MeasuredJson = { bytes: 0, holdsTemplate: false };

export function measureJson(value: unknown): MeasuredJson {
  if (value === undefined || value === null) return nothing;
  if (!isJson(value, maxInputDepth)) return { bytes: Number.POSITIVE_INFINITY, holdsTemplate: false };
  const json = JSON.stringify(value);
  // Only what JSON escapes like this can be bad.
  if (json.includes("\\u") && !isText(value)) return { bytes: Number.POSITIVE_INFINITY, holdsTemplate: false };
  return { bytes: Buffer.byteLength(json), holdsTemplate: json.includes("${{") };
}

/** A value that JSON can say, no longer and nested no deeper than it may be; absent is good. */
export function checkJson(value: unknown, field: string, maxBytes: number, refuse: Refuse): void {
  const { bytes } = measureJson(value);
  if (bytes === Number.POSITIVE_INFINITY) {
    refuse(field, `is ${notKept}`);
  } else if (bytes > maxBytes) {
    refuse(field, `is ${bytes} bytes as JSON; the limit is ${maxBytes}`);
  }
}

/** `bytes` as `measureJson` has measured them. */
export function checkInput({ handler, input }: StepSpec, bytes: number, refuse: Refuse): void {
  if (input === undefined || input === null) return;
  if (handler === "") refuse("input", "needs a handler");
  if (bytes === Number.POSITIVE_INFINITY) {
    refuse("input", `is ${notKept}`);
  } else if (bytes > maxInputBytes) {
    refuse("input", `is ${bytes} bytes as JSON; the limit is ${maxInputBytes}`);
  }
}

/** What only a process or a container has must not be given with a handler. */
export function checkHandler(step: StepSpec, refuse: Refuse): void {
  if (step.handler === "") return;
  if (!handlerName.test(step.handler)) refuse("handler", `must match ${handlerName.source}`);
  const { resources, network } = step;
  const refuseSecond = (field: string) => refuse(field, "cannot be given together with handler");
  if (step.command.length > 0) refuseSecond("command");
  if (step.script !== undefined) refuseSecond("script");
  if (step.image !== "") refuseSecond("image");
  const refuseMeaningless = (field: string) =>
    refuse(field, "cannot be given with a handler: it runs in a worker that is there already");
  if (step.args.length > 0) refuseMeaningless("args");
  if (Object.keys(step.env).length > 0) refuseMeaningless("env");
  if (step.workingDirectory !== "") refuseMeaningless("working_directory");
  if (step.stdin.length > 0) refuseMeaningless("stdin");
  if (network !== "NETWORK_UNSPECIFIED" && network !== "UNRECOGNIZED") refuseMeaningless("network");
  if ((resources?.cpuMillis ?? 0) > 0) refuseMeaningless("resources.cpu_millis");
  if ((resources?.memoryMib ?? 0) > 0) refuseMeaningless("resources.memory_mib");
  const slots = resources?.slots ?? 0;
  if (slots > 1) refuse("resources.slots", `is ${slots}; a handler takes exactly 1 slot of its worker`);
}

function isJson(value: unknown, levels: number): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((part) => isJson(part, levels - 1));
}

function isText(value: unknown): boolean {
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\0");
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([key, part]) => isText(key) && isText(part));
}
