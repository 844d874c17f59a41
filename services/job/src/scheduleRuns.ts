/**
 * What a schedule does when the time of its runs has come: first what was missed, then what overlaps. Nothing here does I/O. The
 * schedule that is given back already counts the runs that are to be submitted.
 */
import { durationMs } from "./fieldChecks.ts";
import {
  beginMove,
  endIfOver,
  type Next,
  never,
  nextAfter,
  type Schedule,
  type ScheduleMove,
  stopped,
} from "./schedule.ts";
import { fireTimeOf, lastRun, type Plan, planOf, runsBetween } from "./scheduleTimes.ts";

/** A run is missed when it is so late that nothing can have been there to submit it. */
const missedAfterMs = 60_000;
/** Runs of one schedule that one pass submits; the next pass goes on. */
const maxRunsAtOnce = 100;
/** Missed runs beyond are left out uncounted. */
const maxCounted = 1_000;

/** What a schedule's jobs do at the moment. */
export interface Activity {
  /** Jobs of it that have not ended. */
  readonly live: number;
  /** Jobs of it that have failed one after another, counted up to what it allows. */
  readonly failures: number;
}

/** What a schedule does now. */
export interface Advance extends ScheduleMove {
  /** The times of the runs to submit, in order; each has its event `fired`. */
  readonly runs: readonly Date[];
}

/** Decides what a schedule does at a time: pauses after too many failures, submits what waited, and what is due. */
export function advance(schedule: Schedule, { live, failures }: Activity, now: Date): Advance {
  const move = beginMove(schedule);
  if (schedule.state !== "ACTIVE") return { ...move.done(), runs: [] };
  const { maxConsecutiveFailures } = schedule.spec;
  if (maxConsecutiveFailures > 0 && failures >= maxConsecutiveFailures) {
    const message = `${failures} ${failures === 1 ? "run has" : "runs one after another have"} failed`;
    move.happen("paused", stopped(schedule, "PAUSED", { reason: "CONSECUTIVE_FAILURES", message }, now));
    return { ...move.done(), runs: [] };
  }
  const { due, missed, next } = dueRuns(schedule, planOf(schedule.spec, schedule.createTime), now);
  const { runs, skipped, buffered } = overlapping(schedule, due, live);
  // Every event shows the schedule as it is in the end.
  const settled = { ...next, bufferedTime: buffered };
  if (missed.length > 0) move.happen("missed", { ...settled, missed: schedule.missed + missed.length }, spanOf(missed));
  if (skipped.length > 0) {
    move.happen("skipped", { ...settled, skipped: schedule.skipped + skipped.length }, spanOf(skipped));
  }
  for (const time of runs) {
    move.happen("fired", { ...settled, fired: move.schedule.fired + 1, lastTime: time }, { time });
  }
  if (buffered !== null && buffered.getTime() !== schedule.bufferedTime?.getTime()) {
    move.happen("buffered", settled, { time: buffered });
  }
  endIfOver(move, now);
  return { ...move.done(), runs };
}

function spanOf(times: readonly Date[]) {
  const [time, lastTime] = [times[0], times.at(-1)];
  return { count: times.length, ...(time && { time }), ...(lastTime && { lastTime }) };
}

/** What became of a run: its job, or why it has none. */
export type RunOutcome = { readonly jobId: string } | { readonly refused: string };

/** The same with what became of its runs, in their order: one that was refused is left out. */
export function withOutcomes({ after, events }: Advance, outcomes: readonly RunOutcome[]): ScheduleMove {
  const left = [...outcomes];
  const told = events.map((event) => {
    const outcome = event.type === "fired" ? left.shift() : undefined;
    if (outcome === undefined) return event;
    if ("jobId" in outcome) return { ...event, ...outcome };
    return { ...event, type: "skipped" as const, count: 1, message: outcome.refused };
  });
  const refused = outcomes.filter((outcome) => "refused" in outcome).length;
  const lastJobId = outcomes.findLast((outcome) => "jobId" in outcome)?.jobId ?? after.lastJobId;
  return {
    after: { ...after, lastJobId, fired: after.fired - refused, skipped: after.skipped + refused },
    events: told,
  };
}

interface DueRuns {
  readonly due: readonly Date[];
  readonly missed: readonly Date[];
  readonly next: Next;
}

function dueRuns(schedule: Schedule, plan: Plan, now: Date): DueRuns {
  const { nextTime, nextFireTime } = schedule;
  if (nextTime === null || nextFireTime === null || nextFireTime > now) {
    return { due: [], missed: [], next: { nextTime, nextFireTime } };
  }
  const { from, missed } = afterMissed(schedule, nextTime, plan, now);
  const due: Date[] = [];
  let next = from === null ? never : { nextTime: from, nextFireTime: fireTime(schedule, from) };
  for (; isDue(next, now) && due.length < maxRunsAtOnce; next = nextAfter(schedule, plan, next.nextTime)) {
    due.push(next.nextTime);
  }
  return { due, missed, next };
}

function isDue(next: Next, now: Date): next is { nextTime: Date; nextFireTime: Date } {
  return next.nextFireTime !== null && next.nextFireTime <= now;
}

function fireTime({ id, spec }: Schedule, time: Date): Date {
  return fireTimeOf(id, time, durationMs(spec.jitter));
}

/** Where to go on when runs were missed: those that the policy leaves out are passed over. */
function afterMissed(
  schedule: Schedule,
  nextTime: Date,
  plan: Plan,
  now: Date,
): { readonly from: Date | null; readonly missed: readonly Date[] } {
  const lateAt = new Date(now.getTime() - missedAfterMs - durationMs(schedule.spec.jitter));
  if (nextTime > lateAt) return { from: nextTime, missed: [] };
  const from = resumeTime(schedule, nextTime, lateAt, plan, now);
  return { from, missed: runsBetween(plan, nextTime, from ?? now, maxCounted) };
}

function resumeTime({ spec }: Schedule, nextTime: Date, lateAt: Date, plan: Plan, now: Date): Date | null {
  switch (spec.missed) {
    case "MISSED_RUN_POLICY_NONE":
      return plan.next(lateAt)?.time ?? null;
    case "MISSED_RUN_POLICY_ALL": {
      const start = new Date(now.getTime() - durationMs(spec.missedWindow));
      return nextTime >= start ? nextTime : (plan.next(new Date(start.getTime() - 1))?.time ?? null);
    }
    default:
      return lastRun(plan, nextTime, lateAt);
  }
}

interface Overlap {
  readonly runs: readonly Date[];
  readonly skipped: readonly Date[];
  readonly buffered: Date | null;
}

/** What of the due runs is submitted, left out, or waits, given how many jobs have not ended. */
function overlapping({ spec, bufferedTime }: Schedule, due: readonly Date[], live: number): Overlap {
  if (spec.overlap === "OVERLAP_POLICY_ALLOW") return { runs: due, skipped: [], buffered: null };
  const waiting = bufferedTime === null ? due : [bufferedTime, ...due];
  const runs = live === 0 ? waiting.slice(0, 1) : [];
  const others = waiting.slice(runs.length);
  switch (spec.overlap) {
    case "OVERLAP_POLICY_BUFFER_ONE":
      return { runs, skipped: others.slice(1), buffered: others[0] ?? null };
    case "OVERLAP_POLICY_CANCEL_RUNNING":
      return { runs, skipped: others.slice(0, -1), buffered: others.at(-1) ?? null };
    default:
      return { runs, skipped: others, buffered: null };
  }
}
