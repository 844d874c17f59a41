/** What a schedule may say: every bad field at once, as paths below `spec`. Its job is checked in scheduleJobs.ts. */
import type { FieldViolation } from "@capstan/errors";
import type { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { Cron } from "croner";
import { checkDuration, checkEnum, checkLine, checkRange, checkText, durationMs, type Refuse } from "./fieldChecks.ts";
import { type Plan, planOf, runsBetween, shortestGapMs } from "./scheduleTimes.ts";
import { scheduleKey } from "./templateParameter.ts";
import { isTimeZone } from "./wallClock.ts";

const day = 86_400_000;
const defaultWindowMs = 3_600_000;
/** Runs that may be made up for, and that one backfill may have. */
export const maxRuns = 1_000;
/** With less between them, runs that are submitted beside each other would heap up faster than anybody can look. */
const leastGapMs = 10_000;

/** `createTime` is when it was made; what it says is good or bad at `now`. */
export function checkSchedule(spec: ScheduleSpec | undefined, createTime: Date, now: Date): readonly FieldViolation[] {
  if (spec === undefined) return [{ field: "spec", description: "is required" }];
  const violations: FieldViolation[] = [];
  const refuse: Refuse = (field, description) => violations.push({ field: `spec.${field}`, description });
  checkText(spec.description, "description", 1_024, refuse);
  checkEnum(spec.overlap, "overlap", refuse);
  checkEnum(spec.missed, "missed", refuse);
  checkRange(spec.maxConsecutiveFailures, "max_consecutive_failures", 0, 100, refuse);
  checkDuration(spec.jitter, "jitter", { minMs: 1, maxMs: 3_600_000 }, refuse);
  checkWindow(spec, refuse);
  checkJobFields(spec, refuse);
  const isPlanGood = checkTimes(spec, refuse);
  if (isPlanGood) checkPlan(spec, planOf(spec, createTime), now, refuse);
  return violations;
}

function checkWindow({ missed, missedWindow }: ScheduleSpec, refuse: Refuse): void {
  if (durationMs(missedWindow) === 0) return;
  if (missed !== "MISSED_RUN_POLICY_ALL") refuse("missed_window", "needs missed ALL");
  checkDuration(missedWindow, "missed_window", { minMs: 60_000, maxMs: 7 * day }, refuse);
}

function checkJobFields({ job, template }: ScheduleSpec, refuse: Refuse): void {
  if (job === undefined && template === undefined) refuse("job", "is required, or a template");
  if (job?.notBefore !== undefined) refuse("job.not_before", "cannot be given: the schedule says when");
  const input: unknown = job?.input;
  if (input === undefined || input === null) return;
  if (typeof input !== "object" || Array.isArray(input)) {
    refuse("job.input", `must be an object: the schedule adds \`${scheduleKey}\` to it`);
  } else if (Object.hasOwn(input, scheduleKey)) refuse(`job.input.${scheduleKey}`, "is what the schedule adds");
}

/** What can be said of when it runs without counting runs; true if it is a plan. */
function checkTimes(spec: ScheduleSpec, refuse: Refuse): boolean {
  let isGood = true;
  const refuseHere: Refuse = (field, description) => {
    isGood = false;
    refuse(field, description);
  };
  const { cron, interval, time, timeZone, startTime, endTime } = spec;
  const given = [cron !== "", interval !== undefined, time !== undefined].filter(Boolean).length;
  if (given !== 1) refuseHere("cron", `give exactly one of cron, interval and time, not ${given}`);
  if (timeZone !== "" && cron === "") refuseHere("time_zone", "is only for cron");
  else if (timeZone !== "" && !isTimeZone(timeZone)) {
    refuseHere("time_zone", 'is not a name of the IANA database, such as "Europe/Madrid"');
  }
  if (cron !== "") checkCron(cron, refuseHere);
  if (interval !== undefined) {
    const ms = durationMs(interval);
    // Not `checkDuration`: here 0 is none.
    if (!(ms >= 1_000 && ms <= 366 * day))
      refuseHere("interval", `is ${ms / 1_000} s; it must be from 1 s to 366 days`);
    else if (!Number.isInteger(ms)) refuseHere("interval", "must be whole milliseconds");
  }
  for (const [field, value] of [
    ["time", time] as const,
    ["start_time", startTime] as const,
    ["end_time", endTime] as const,
  ]) {
    if (value !== undefined && !isTime(value)) refuseHere(field, "is not a time before the year 10000");
  }
  if (startTime !== undefined && endTime !== undefined && endTime <= startTime) {
    refuseHere("end_time", "must be later than start_time");
  }
  return isGood;
}

function isTime(value: Date): boolean {
  return value.getTime() >= 0 && value.getUTCFullYear() <= 9_999;
}

function checkCron(cron: string, refuse: Refuse): void {
  let isGood = true;
  checkLine(cron, "cron", 128, (field, description) => {
    isGood = false;
    refuse(field, description);
  });
  if (!isGood) return;
  const fields = cron.trim().split(/\s+/).length;
  if (fields !== 5 && fields !== 6) {
    return refuse("cron", `has ${fields} fields; it must have five, or six with seconds before them`);
  }
  try {
    new Cron(cron, { paused: true, timezone: "UTC" });
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^CronPattern: /, "") : "it cannot be read";
    refuse("cron", `is not a pattern: ${why}`);
  }
}

function checkPlan(spec: ScheduleSpec, plan: Plan, now: Date, refuse: Refuse): void {
  const field = spec.cron !== "" ? "cron" : spec.time !== undefined ? "time" : "interval";
  if (plan.next(now) === null) {
    const hasEnd = spec.endTime !== undefined && planOf({ ...spec, endTime: undefined }, now).next(now) !== null;
    return refuse(hasEnd ? "end_time" : field, hasEnd ? "leaves no run" : "never comes: no such time is ahead");
  }
  const gapMs = shortestGapMs(plan, now);
  if (spec.overlap === "OVERLAP_POLICY_ALLOW" && gapMs < leastGapMs) {
    const least = `ALLOW needs at least ${leastGapMs / 1_000} s between runs`;
    refuse("overlap", `${least}, and here are ${gapMs / 1_000} s; take SKIP, BUFFER_ONE or CANCEL_RUNNING`);
  }
  const jitterMs = durationMs(spec.jitter);
  if (jitterMs > gapMs) refuse("jitter", `is ${jitterMs / 1_000} s, and between two runs are only ${gapMs / 1_000} s`);
  if (spec.missed !== "MISSED_RUN_POLICY_ALL") return;
  const from = plan.next(now)?.time ?? now;
  const until = new Date(from.getTime() + (durationMs(spec.missedWindow) || defaultWindowMs));
  if (runsBetween(plan, from, until, maxRuns + 1).length > maxRuns) {
    refuse("missed_window", `holds more than ${maxRuns} runs`);
  }
}

/** A good spec with its defaults filled in. */
export function completeSchedule(spec: ScheduleSpec): ScheduleSpec {
  const { overlap, missed, missedWindow } = spec;
  const isAll = missed === "MISSED_RUN_POLICY_ALL";
  return {
    ...spec,
    timeZone: spec.cron === "" ? "" : spec.timeZone || "UTC",
    overlap: overlap === "OVERLAP_POLICY_UNSPECIFIED" ? "OVERLAP_POLICY_SKIP" : overlap,
    missed: missed === "MISSED_RUN_POLICY_UNSPECIFIED" ? "MISSED_RUN_POLICY_LAST" : missed,
    missedWindow:
      isAll && durationMs(missedWindow) === 0 ? { seconds: defaultWindowMs / 1_000, nanos: 0 } : missedWindow,
  };
}
