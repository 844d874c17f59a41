/**
 * Checks of single fields. Each calls `refuse` with the field and a description that states the limit; none throws, so that a
 * caller learns of every bad field at once.
 */
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";

export type Refuse = (field: string, description: string) => void;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controlCharacter = /[\u0001-\u001f\u007f-\u009f\u2028\u2029]/;

/** A key as it may stand in an error: short, and nothing that a terminal would obey. */
export function shownKey(key: string): string {
  return JSON.stringify(key.slice(0, 64)).replace(/[^\x20-\x7e]/g, "?");
}

/** Text of one line: no control characters at all. */
export function checkLine(
  text: string,
  field: string,
  maxLength: number,
  refuse: Refuse,
  { required = false } = {},
): void {
  checkText(text, field, maxLength, refuse, { required });
  if (controlCharacter.test(text)) refuse(field, "must not contain control characters");
}

export function checkText(
  text: string,
  field: string,
  maxLength: number,
  refuse: Refuse,
  { required = false } = {},
): void {
  if (required && text === "") refuse(field, "is required");
  if (text.length > maxLength) refuse(field, `is ${text.length} characters; the limit is ${maxLength}`);
  if (text.includes("\0")) refuse(field, "must not contain NUL");
  if (!text.isWellFormed()) refuse(field, "must be well-formed Unicode");
}

export function checkRange(value: number, field: string, min: number, max: number, refuse: Refuse): void {
  if (!(value >= min && value <= max)) refuse(field, `is ${value}; it must be from ${min} to ${max}`);
}

export function checkEnum(value: string, field: string, refuse: Refuse): void {
  if (value === "UNRECOGNIZED") refuse(field, "is not a value that this version knows");
}

/** Absent and 0 mean the default and are always good. */
export function checkDuration(
  duration: Duration | undefined,
  field: string,
  { minMs, maxMs }: { minMs: number; maxMs: number },
  refuse: Refuse,
): void {
  const ms = durationMs(duration);
  if (ms === 0) return;
  if (!(ms >= minMs && ms <= maxMs))
    refuse(field, `is ${ms / 1_000} s; it must be from ${minMs / 1_000} s to ${maxMs / 1_000} s`);
}

/** Milliseconds; 0 if absent. */
export function durationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1_000 + duration.nanos / 1_000_000;
}

export function durationOfMs(ms: number): Duration {
  return { seconds: Math.floor(ms / 1_000), nanos: Math.round((ms % 1_000) * 1_000_000) };
}
