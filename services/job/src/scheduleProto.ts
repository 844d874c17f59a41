/** Schedules as messages and facts. Domain words are the enum names without their prefix, so that both sides type-check. */
import { type Fact, uuidv7 } from "@capstan/postgres";
import {
  type PlannedRun,
  type Schedule as ScheduleMessage,
  ScheduleSpec,
} from "@capstan/proto/capstan/job/v1/schedule.ts";
import { ScheduleEvent as ScheduleEventMessage } from "@capstan/proto/capstan/job/v1/schedule_event.ts";
import { sortedJson } from "./jobProto.ts";
import { etagOf, type Schedule, type ScheduleEvent } from "./schedule.ts";
import { formatLocal, type Instant } from "./wallClock.ts";

export function scheduleMessage(schedule: Schedule, consecutiveFailures = 0): ScheduleMessage {
  return {
    id: schedule.id,
    tenant: schedule.tenant,
    name: schedule.name,
    spec: schedule.spec,
    state: `SCHEDULE_STATE_${schedule.state}`,
    reason: `SCHEDULE_REASON_${schedule.reason}`,
    message: schedule.message,
    stateTime: schedule.stateTime,
    nextTime: schedule.nextTime ?? undefined,
    nextFireTime: schedule.nextFireTime ?? undefined,
    lastTime: schedule.lastTime ?? undefined,
    lastJobId: schedule.lastJobId ?? "",
    bufferedTime: schedule.bufferedTime ?? undefined,
    consecutiveFailures,
    fired: schedule.fired,
    missed: schedule.missed,
    skipped: schedule.skipped,
    createTime: schedule.createTime,
    updateTime: schedule.updateTime,
    etag: etagOf(schedule),
  };
}

export function isSameSchedule(one: ScheduleSpec, other: ScheduleSpec): boolean {
  return sortedJson(ScheduleSpec.toJSON(one)) === sortedJson(ScheduleSpec.toJSON(other));
}

const changes = {
  NONE: "CLOCK_CHANGE_UNSPECIFIED",
  GAP: "CLOCK_CHANGE_GAP",
  REPEATED: "CLOCK_CHANGE_REPEATED",
} as const;

export function plannedRun({ time, change }: Instant, fireTime: Date, timeZone: string): PlannedRun {
  const localTime = formatLocal(timeZone, time);
  const hour = localTime.slice(11, 16);
  const messages = {
    NONE: "",
    GAP: `its local time does not exist on this day, because the clock is put forward; it comes at ${hour}`,
    REPEATED: `${hour} comes twice on this day, because the clock is put back; it comes the first time`,
  };
  return { time, fireTime, localTime, clockChange: changes[change], message: messages[change] };
}

export function scheduleFact(event: ScheduleEvent, traceparent: string | null): Fact {
  const { type, after, time, lastTime, count = 0, jobId = "", triggered = false } = event;
  const data: ScheduleEventMessage = {
    scheduleId: after.id,
    name: after.name,
    state: `SCHEDULE_STATE_${after.state}`,
    reason: `SCHEDULE_REASON_${after.reason}`,
    message: event.message ?? after.message,
    time,
    lastTime,
    count,
    jobId,
    nextTime: after.nextTime ?? undefined,
    triggered,
  };
  return {
    id: uuidv7(),
    tenant: after.tenant,
    noun: "schedule",
    event: type,
    aggregateId: after.id,
    sequence: after.sequence,
    correlationId: jobId,
    causationId: "",
    traceparent,
    data: ScheduleEventMessage.toJSON(data) as object,
    isTerminal: type === "deleted",
  };
}
