/** Schedules as text for people. */
import type { PlannedRun, Schedule, ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { formatAge } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { terminalWidth } from "./output.ts";
import { formatDuration } from "./queueView.ts";
import { formatDetails, formatTable } from "./table.ts";

/** When it runs: the pattern with its zone, `every 5m0s`, or the time. */
function whenOf(spec: ScheduleSpec | undefined): string {
  if (spec === undefined) return "";
  if (spec.cron !== "") return spec.timeZone === "UTC" ? spec.cron : `${spec.cron} ${spec.timeZone}`;
  return spec.time === undefined ? `every ${formatDuration(spec.interval)}` : `once at ${spec.time.toISOString()}`;
}

function whatOf(spec: ScheduleSpec | undefined): string {
  const { template, job } = spec ?? {};
  if (template === undefined) return job?.name || "a job of its own";
  return `template ${template.name}${template.version === 0 ? "" : `@${template.version}`}`;
}

/** `in 3m`, or `3m ago`. */
function fromNow(time: Date | undefined, now: Date): string {
  if (time === undefined) return "";
  const ms = time.getTime() - now.getTime();
  return ms >= 0 ? `in ${formatAge(ms)}` : `${formatAge(-ms)} ago`;
}

function reasonOf({ reason, message }: Schedule): string {
  return [enumWord(reason), message].filter(Boolean).join(": ");
}

export function formatSchedules(schedules: readonly Schedule[], now: Date): string {
  return formatTable(
    schedules,
    [
      { title: "NAME", cell: ({ name }) => name },
      { title: "STATE", cell: ({ state }) => enumCell(state) },
      { title: "WHEN", cell: ({ spec }) => whenOf(spec) },
      { title: "NEXT", cell: ({ nextTime }) => fromNow(nextTime, now) },
      { title: "LAST", cell: ({ lastTime }) => fromNow(lastTime, now) },
      { title: "RUNS", cell: ({ fired }) => String(fired) },
      { title: "WHAT", cell: ({ spec }) => whatOf(spec) },
      { title: "REASON", cell: reasonOf },
    ],
    terminalWidth(),
  );
}

export function formatSchedule(schedule: Schedule, now: Date): string {
  const { spec } = schedule;
  const time = (value: Date | undefined) =>
    value === undefined ? "" : `${value.toISOString()}, ${fromNow(value, now)}`;
  const failures = schedule.consecutiveFailures === 0 ? "" : String(schedule.consecutiveFailures);
  const allowed = spec?.maxConsecutiveFailures ?? 0;
  return formatDetails([
    ["Id", schedule.id],
    ["Name", schedule.name],
    ["State", enumCell(schedule.state)],
    ["Reason", reasonOf(schedule)],
    ["Description", spec?.description ?? ""],
    ["When", whenOf(spec)],
    ["Jitter", formatDuration(spec?.jitter)],
    ["From", spec?.startTime?.toISOString() ?? ""],
    ["Until", spec?.endTime?.toISOString() ?? ""],
    ["What", whatOf(spec)],
    ["Overlap", enumWord(spec?.overlap ?? "")],
    [
      "Missed runs",
      [enumWord(spec?.missed ?? ""), formatDuration(spec?.missedWindow)].filter(Boolean).join(" within "),
    ],
    ["Next run", time(schedule.nextTime)],
    ["Waiting run", time(schedule.bufferedTime)],
    ["Last run", time(schedule.lastTime)],
    ["Last job", schedule.lastJobId],
    ["Runs", `${schedule.fired} submitted, ${schedule.missed} missed, ${schedule.skipped} left out`],
    ["Failures in a row", [failures, allowed === 0 ? "" : `pauses at ${allowed}`].filter(Boolean).join(", ")],
    ["Created", schedule.createTime?.toISOString() ?? ""],
    ["Changed", schedule.updateTime?.toISOString() ?? ""],
  ]);
}

export function formatRuns(runs: readonly PlannedRun[], now: Date): string {
  return formatTable(runs, [
    { title: "LOCAL TIME", cell: ({ localTime }) => localTime },
    { title: "UTC", cell: ({ time }) => time?.toISOString() ?? "" },
    { title: "COMES", cell: ({ fireTime }) => fromNow(fireTime, now) },
    { title: "NOTE", cell: ({ message }) => message },
  ]);
}
