/** A schedule as it is typed, and as the API takes it. Pure. */
import { durationMs } from "./format.ts";
import type { ScheduleSpec } from "./json.ts";
import { requestOf } from "./specText.ts";

export type Kind = "cron" | "interval" | "time";

export interface Draft {
  readonly name: string;
  readonly description: string;
  readonly kind: Kind;
  readonly cron: string;
  readonly timeZone: string;
  /** A number of `unit`. */
  readonly interval: string;
  /** In seconds. */
  readonly unit: string;
  /** As of a control for local times. */
  readonly time: string;
  readonly jitter: string;
  readonly overlap: string;
  readonly missed: string;
  readonly startTime: string;
  readonly endTime: string;
  readonly maxConsecutiveFailures: string;
}

const units = [86_400, 3_600, 60, 1] as const;

/** In the reader's time zone, as `<input type="datetime-local">` has it. */
function localInput(time: string | undefined): string {
  if (time === undefined) return "";
  const at = new Date(time);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** What is no time goes as it was typed, and is refused with its field. */
function timeOfInput(text: string): string {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}

export function draftOf(name: string, spec: ScheduleSpec, timeZone: string): Draft {
  const seconds = spec.interval === undefined ? 300 : durationMs(spec.interval) / 1_000;
  const unit = units.find((each) => seconds % each === 0) ?? 1;
  const jitter = durationMs(spec.jitter) / 1_000;
  return {
    name,
    description: spec.description ?? "",
    kind: spec.interval !== undefined ? "interval" : spec.time !== undefined ? "time" : "cron",
    cron: spec.cron || "30 2 * * *",
    timeZone: spec.timeZone || timeZone,
    interval: String(seconds / unit),
    unit: String(unit),
    time: localInput(spec.time),
    jitter: jitter > 0 ? String(jitter) : "",
    overlap: spec.overlap ?? "OVERLAP_POLICY_SKIP",
    missed: spec.missed ?? "MISSED_RUN_POLICY_LAST",
    startTime: localInput(spec.startTime),
    endTime: localInput(spec.endTime),
    maxConsecutiveFailures: spec.maxConsecutiveFailures ? String(spec.maxConsecutiveFailures) : "",
  };
}

/** When it runs. */
export function planOf(draft: Draft): Readonly<Record<string, unknown>> {
  const times = {
    cron: { cron: draft.cron.trim(), timeZone: draft.timeZone.trim() },
    interval: { interval: `${Number(draft.interval || 0) * Number(draft.unit)}s` },
    time: { time: timeOfInput(draft.time) },
  };
  return {
    ...times[draft.kind],
    ...(draft.jitter.trim() === "" ? {} : { jitter: `${draft.jitter.trim()}s` }),
    ...(draft.startTime === "" ? {} : { startTime: timeOfInput(draft.startTime) }),
    ...(draft.endTime === "" ? {} : { endTime: timeOfInput(draft.endTime) }),
    overlap: draft.overlap,
    missed: draft.missed,
  };
}

/** The whole spec; `work` is what the text beside says: a job, or a template with what takes the place of its own. */
export function specOf(
  draft: Draft,
  work: Readonly<Record<string, unknown>>,
  before: ScheduleSpec = {},
): Readonly<Record<string, unknown>> {
  const request = requestOf(work);
  const { missedWindow } = before;
  return {
    ...planOf(draft),
    ...(missedWindow === undefined ? {} : { missedWindow }),
    description: draft.description,
    maxConsecutiveFailures: Number(draft.maxConsecutiveFailures || 0),
    ...("template" in request ? { template: request["template"] } : {}),
    ...(request["spec"] === undefined ? {} : { job: request["spec"] }),
  };
}

/** A field of the request in words of the text beside; null if it is none of them. */
export function workField(field: string, isTemplate: boolean): string | null {
  const [, at] = /^spec\.(.*)$/.exec(field) ?? [];
  if (at === undefined) return null;
  if (at.startsWith("template")) return at;
  if (!/^job\b/.test(at)) return null;
  return isTemplate ? at.replace(/^job/, "spec") : at.replace(/^job\.?/, "");
}
