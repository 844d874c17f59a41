/**
 * When the runs of a schedule come. A plan knows no present: whoever asks says after which time.
 *
 * A pattern that names hours is followed by the local clock: a run whose local time does not exist comes when the clock has been put
 * forward, once for all that fell into the gap, and one whose local time comes twice comes the first time. A pattern for every hour
 * comes in every hour there is.
 */
import type { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { Cron } from "croner";
import { durationMs } from "./fieldChecks.ts";
import { type Instant, instantOf, localTime } from "./wallClock.ts";

/** When the runs come, and from when to when. */
export interface Plan {
  /** The first run after a time, within the plan's own start and end; null when none comes any more. */
  next(after: Date): Instant | null;
}

/** Throws when the pattern cannot be read. `createTime` is where intervals are counted from if no start is given. */
export function planOf(spec: ScheduleSpec, createTime: Date): Plan {
  const every = runsOf(spec, createTime);
  const { startTime, endTime } = spec;
  return {
    next(after) {
      const from = startTime !== undefined && startTime > after ? new Date(startTime.getTime() - 1) : after;
      const run = every(from);
      return run === null || (endTime !== undefined && run.time >= endTime) ? null : run;
    },
  };
}

function runsOf(spec: ScheduleSpec, createTime: Date): (after: Date) => Instant | null {
  const { time, interval } = spec;
  if (spec.cron !== "") return cronRuns(spec.cron, spec.timeZone || "UTC");
  if (time !== undefined) return (after) => (time > after ? { time, change: "NONE" } : null);
  const intervalMs = durationMs(interval);
  const first = spec.startTime?.getTime() ?? createTime.getTime() + intervalMs;
  return (after) => {
    const passed = Math.max(0, Math.floor((after.getTime() - first) / intervalMs) + 1);
    return { time: new Date(first + passed * intervalMs), change: "NONE" };
  };
}

function cronRuns(pattern: string, timeZone: string): (after: Date) => Instant | null {
  if (timeZone === "UTC" || isEveryHour(pattern)) {
    const cron = new Cron(pattern, { timezone: timeZone, paused: true });
    return (after) => {
      const time = cron.nextRun(after);
      return time === null ? null : { time, change: "NONE" };
    };
  }
  // Its patterns read as local times, which pass evenly; what a change of the clock means is decided here.
  const cron = new Cron(pattern, { timezone: "UTC", paused: true });
  return (after) => {
    let local = cron.nextRun(localTime(timeZone, after));
    while (local !== null) {
      const instant = instantOf(timeZone, local);
      if (instant.time > after) return instant;
      local = cron.nextRun(local);
    }
    return null;
  };
}

function isEveryHour(pattern: string): boolean {
  const fields = pattern.trim().split(/\s+/);
  const hours = fields[fields.length - 4] ?? "";
  return hours === "*" || hours === "*/1";
}

/** The next runs, at most so many. */
export function nextRuns(plan: Plan, after: Date, count: number): readonly Instant[] {
  const runs: Instant[] = [];
  for (let run = plan.next(after); run !== null && runs.length < count; run = plan.next(run.time)) runs.push(run);
  return runs;
}

/** Runs from a time on and before another, at most so many. */
export function runsBetween(plan: Plan, from: Date, before: Date, most: number): readonly Date[] {
  const times: Date[] = [];
  let run = plan.next(new Date(from.getTime() - 1));
  while (run !== null && run.time < before && times.length < most) {
    times.push(run.time);
    run = plan.next(run.time);
  }
  return times;
}

const windowsMs = [60_000, 3_600_000, 86_400_000, 31 * 86_400_000];

/** The last run of those from one on, itself included, up to a time. Looks back in growing steps, so that few runs are passed. */
export function lastRun(plan: Plan, from: Date, upTo: Date): Date {
  for (const windowMs of [...windowsMs, Number.POSITIVE_INFINITY]) {
    const start = new Date(Math.max(from.getTime() - 1, upTo.getTime() - windowMs));
    let last: Date | null = null;
    for (let run = plan.next(start); run !== null && run.time <= upTo; run = plan.next(run.time)) last = run.time;
    if (last !== null) return last;
  }
  return from;
}

/** Milliseconds of the shortest time between two of the next hundred runs; infinite if fewer than two come. */
export function shortestGapMs(plan: Plan, after: Date): number {
  const times = nextRuns(plan, after, 101).map(({ time }) => time.getTime());
  return Math.min(...times.slice(1).map((time, index) => time - (times[index] ?? 0)));
}

/** When a run is submitted: later than its time by a share of `jitter` that is the same whoever asks. */
export function fireTimeOf(scheduleId: string, time: Date, jitterMs: number): Date {
  if (jitterMs === 0) return time;
  return new Date(time.getTime() + Math.floor(shareOf(`${scheduleId} ${time.getTime()}`) * jitterMs));
}

/** A number in [0, 1) that a text always gives and that looks random: FNV-1a with the finish of MurmurHash3. */
function shareOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
