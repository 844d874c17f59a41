/**
 * The life of a schedule and what it does when its time comes. Nothing here reads a clock, makes an id or does I/O.
 *
 *   ACTIVE ◀─▶ PAUSED
 *     └─▶ ENDED   no run is left
 *
 * What becomes of runs whose time has come is decided in scheduleRuns.ts.
 */
import { DomainError } from "@capstan/errors";
import type { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { durationMs } from "./fieldChecks.ts";
import { fireTimeOf, type Plan, planOf } from "./scheduleTimes.ts";

export const scheduleStates = ["ACTIVE", "PAUSED", "ENDED"] as const;
export type ScheduleState = (typeof scheduleStates)[number];
export const scheduleReasons = [
  "UNSPECIFIED",
  "PAUSED_BY_USER",
  "CONSECUTIVE_FAILURES",
  "JOB_REFUSED",
  "NO_RUN_LEFT",
  "TIMES_FAILED",
] as const;
export type ScheduleReason = (typeof scheduleReasons)[number];

export interface Schedule {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly spec: ScheduleSpec;
  readonly state: ScheduleState;
  readonly reason: ScheduleReason;
  readonly message: string;
  readonly stateTime: Date;
  /** The next run by the plan; null unless ACTIVE. */
  readonly nextTime: Date | null;
  /** When that run is submitted. */
  readonly nextFireTime: Date | null;
  readonly lastTime: Date | null;
  readonly lastJobId: string | null;
  /** A run that waits for the one before to end. */
  readonly bufferedTime: Date | null;
  readonly fired: number;
  readonly missed: number;
  readonly skipped: number;
  /** Jobs that ended before are not counted as failures. */
  readonly failuresSince: Date;
  /** The number of its last fact. */
  readonly sequence: number;
  /** Grows with every change by somebody. */
  readonly revision: number;
  readonly createTime: Date;
  readonly updateTime: Date;
}

type ScheduleEventType =
  | "created"
  | "updated"
  | "fired"
  | "missed"
  | "skipped"
  | "buffered"
  | "backfilled"
  | "paused"
  | "resumed"
  | "ended"
  | "deleted";

/** The states each event may happen in. The diagram above and the exhaustive test follow this table. */
export const scheduleAllowedFrom = {
  created: [],
  updated: ["ACTIVE", "PAUSED", "ENDED"],
  // Somebody may ask for a run at any time.
  fired: ["ACTIVE", "PAUSED", "ENDED"],
  missed: ["ACTIVE"],
  skipped: ["ACTIVE"],
  buffered: ["ACTIVE"],
  backfilled: ["ACTIVE", "PAUSED", "ENDED"],
  paused: ["ACTIVE"],
  resumed: ["PAUSED"],
  ended: ["ACTIVE"],
  deleted: ["ACTIVE", "PAUSED", "ENDED"],
} as const satisfies Record<ScheduleEventType, readonly ScheduleState[]>;

/** What happened, with the schedule right after it: one fact each. */
export interface ScheduleEvent {
  readonly type: ScheduleEventType;
  readonly after: Schedule;
  /** The run it is about, and of several the first and the last. */
  readonly time?: Date;
  readonly lastTime?: Date;
  readonly count?: number;
  /** The job that was submitted. */
  readonly jobId?: string;
  readonly triggered?: boolean;
  /** For people; that of the schedule if absent. */
  readonly message?: string;
}

/** A schedule after a move, with what happened on the way. */
export interface ScheduleMove {
  readonly after: Schedule;
  readonly events: readonly ScheduleEvent[];
}

/** Collects what happens to a schedule, and numbers it. */
export function beginMove(before: Schedule) {
  let current = before;
  const events: ScheduleEvent[] = [];
  return {
    get schedule() {
      return current;
    },
    happen(type: ScheduleEventType, fields: Partial<Schedule>, more: Omit<ScheduleEvent, "type" | "after"> = {}) {
      assertAllowed(current, type);
      current = { ...current, ...fields, sequence: current.sequence + 1 };
      events.push({ ...more, type, after: current });
    },
    done: (): ScheduleMove => ({ after: current, events }),
  };
}

function assertAllowed({ name, state }: Schedule, type: ScheduleEventType): void {
  const from: readonly ScheduleState[] = scheduleAllowedFrom[type];
  if (from.includes(state)) return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "SCHEDULE_STATE",
    message: `schedule ${name} is ${state}; it can be ${type} only while it is ${from.join(" or ")}`,
    metadata: { schedule: name, state },
  });
}

export function etagOf({ revision }: Pick<Schedule, "revision">): string {
  return String(revision);
}

function assertEtag(schedule: Schedule, etag: string): void {
  if (etag === "" || etag === etagOf(schedule)) return;
  throw new DomainError({
    code: "ABORTED",
    reason: "SCHEDULE_CHANGED",
    message: `schedule ${schedule.name} has changed since it was read; read it again`,
    metadata: { etag: etagOf(schedule) },
  });
}

/** Its next run; both null when there is none. */
export type Next = Pick<Schedule, "nextTime" | "nextFireTime">;
export const never: Next = { nextTime: null, nextFireTime: null };

export function nextAfter({ id, spec }: Pick<Schedule, "id" | "spec">, plan: Plan, after: Date): Next {
  const run = plan.next(after);
  if (run === null) return never;
  return { nextTime: run.time, nextFireTime: fireTimeOf(id, run.time, durationMs(spec.jitter)) };
}

const active = { state: "ACTIVE", reason: "UNSPECIFIED", message: "" } as const;

/** A schedule that nobody has seen yet. */
export function createSchedule(
  made: Pick<Schedule, "id" | "tenant" | "name" | "spec">,
  now: Date,
  isPaused: boolean,
): ScheduleMove {
  const paused = { state: "PAUSED", reason: "PAUSED_BY_USER", message: "made so" } as const;
  const next = isPaused ? never : nextAfter(made, planOf(made.spec, now), now);
  const after: Schedule = {
    ...made,
    ...(isPaused ? paused : active),
    ...next,
    stateTime: now,
    lastTime: null,
    lastJobId: null,
    bufferedTime: null,
    fired: 0,
    missed: 0,
    skipped: 0,
    failuresSince: now,
    sequence: 1,
    revision: 1,
    createTime: now,
    updateTime: now,
  };
  const move = beginMove(after);
  if (!isPaused) endIfOver(move, now);
  return { after: move.schedule, events: [{ type: "created", after }, ...move.done().events] };
}

/** Gives it another spec. An ENDED one goes on if the new plan has a run. */
export function updateSchedule(schedule: Schedule, spec: ScheduleSpec, etag: string, now: Date): ScheduleMove {
  assertEtag(schedule, etag);
  const changed = { ...schedule, spec };
  const next = schedule.state === "PAUSED" ? never : nextAfter(changed, planOf(spec, schedule.createTime), now);
  const revived = schedule.state === "ENDED" ? { ...active, stateTime: now } : {};
  const move = beginMove(schedule);
  const revision = schedule.revision + 1;
  move.happen("updated", {
    ...revived,
    ...next,
    spec,
    bufferedTime: null,
    revision,
    updateTime: now,
    failuresSince: now,
  });
  if (move.schedule.state === "ACTIVE") endIfOver(move, now);
  return move.done();
}

export function deleteSchedule(schedule: Schedule, etag: string): ScheduleMove {
  assertEtag(schedule, etag);
  const move = beginMove(schedule);
  move.happen("deleted", {});
  return move.done();
}

/** Nothing happens if it is paused already. */
export function pauseSchedule(
  schedule: Schedule,
  cause: Pick<Schedule, "reason" | "message">,
  now: Date,
): ScheduleMove {
  const move = beginMove(schedule);
  if (schedule.state !== "PAUSED") move.happen("paused", stopped(schedule, "PAUSED", cause, now));
  return move.done();
}

/** The fields of a schedule that goes on no more by itself. */
export function stopped(
  schedule: Schedule,
  state: "PAUSED" | "ENDED",
  cause: Pick<Schedule, "reason" | "message">,
  now: Date,
) {
  const { revision } = schedule;
  const byUser = cause.reason === "PAUSED_BY_USER" ? { revision: revision + 1, updateTime: now } : {};
  return { ...never, ...cause, ...byUser, state, stateTime: now, bufferedTime: null };
}

/** From the next time after now; runs whose time came meanwhile are not made up for. */
export function resumeSchedule(schedule: Schedule, now: Date): ScheduleMove {
  const move = beginMove(schedule);
  if (schedule.state === "ACTIVE") return move.done();
  const next = nextAfter(schedule, planOf(schedule.spec, schedule.createTime), now);
  const revision = schedule.revision + 1;
  move.happen("resumed", { ...active, ...next, stateTime: now, revision, updateTime: now, failuresSince: now });
  endIfOver(move, now);
  return move.done();
}

/** Ends it when neither a run is left nor one waits. */
export function endIfOver(move: ReturnType<typeof beginMove>, now: Date): void {
  const { schedule } = move;
  if (schedule.nextTime !== null || schedule.bufferedTime !== null) return;
  move.happen("ended", stopped(schedule, "ENDED", { reason: "NO_RUN_LEFT", message: "" }, now));
}

/** A run that somebody asked for. */
export function triggerSchedule(schedule: Schedule, jobId: string, time: Date): ScheduleMove {
  const move = beginMove(schedule);
  move.happen(
    "fired",
    { fired: schedule.fired + 1, lastTime: time, lastJobId: jobId },
    { time, jobId, triggered: true },
  );
  return move.done();
}

/** Runs of a time that has passed. */
export function backfillSchedule(schedule: Schedule, times: readonly Date[]): ScheduleMove {
  const move = beginMove(schedule);
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined) return move.done();
  const fired = schedule.fired + times.length;
  move.happen("backfilled", { fired }, { time: first, lastTime: last, count: times.length });
  return move.done();
}
