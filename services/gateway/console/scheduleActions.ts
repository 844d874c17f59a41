/** What can be done with a schedule, and its plan in words. */
import { call, newRequestId, post } from "./api.ts";
import { formatLength, formatTime } from "./format.ts";
import { act } from "./jobActions.ts";
import type { Job, Schedule, ScheduleSpec } from "./json.ts";
import { link } from "./router.ts";
import { ask, whyAsked } from "./ui/dialog.ts";
import { say } from "./ui/toast.ts";

/** `30 2 * * * in Europe/Madrid`, `every 30s`, `once, at …`. */
export function planText({ cron = "", interval, time, timeZone = "" }: ScheduleSpec = {}): string {
  if (cron !== "") return `${cron} in ${timeZone || "UTC"}`;
  if (interval !== undefined) return `every ${formatLength(interval)}`;
  return time === undefined ? "" : `once, at ${formatTime(time)}`;
}

/** What each run is: a template, or a job by its name. */
export function workText({ template, job }: ScheduleSpec = {}): string {
  if (template !== undefined)
    return `template ${template.name}${template.version ? ` version ${template.version}` : ""}`;
  return job?.name ?? "";
}

const pathOf = (name: string) => `schedules/${encodeURIComponent(name)}`;

export async function triggerSchedule({ name = "", spec }: Schedule): Promise<boolean> {
  const answer = await ask({
    title: `Run “${name}” now?`,
    text: `One job is submitted at once (${workText(spec)}), beside whatever runs of it. The plan stays as it is.`,
    verb: "Run it now",
  });
  if (answer === null) return false;
  let jobId = "";
  const isDone = await act(async () => {
    const { job } = await post<{ job?: Job }>(`${pathOf(name)}:trigger`, { requestId: newRequestId() });
    jobId = job?.id ?? "";
  }, null);
  if (isDone) say(`${name} runs now; open its job`, link(`jobs/${jobId}`));
  return isDone;
}

export async function pauseSchedule({ name = "" }: Schedule): Promise<boolean> {
  const reason = await ask({
    title: `Pause the schedule “${name}”?`,
    text: "It submits no job until it is resumed, and runs whose time comes meanwhile are not made up for. Jobs that it has submitted go on.",
    verb: "Pause the schedule",
    reason: whyAsked,
  });
  if (reason === null) return false;
  return act(() => post(`${pathOf(name)}:pause`, { message: reason }), `${name} is paused`);
}

export function resumeSchedule({ name = "" }: Schedule): Promise<boolean> {
  return act(() => post(`${pathOf(name)}:resume`), `${name} goes on from its next time`);
}

export async function deleteSchedule({ name = "", etag = "" }: Schedule): Promise<boolean> {
  const answer = await ask({
    title: `Delete the schedule “${name}”?`,
    text: "It submits no job any more and cannot be brought back, only made anew. Jobs that it has submitted stay, and go on.",
    verb: "Delete the schedule",
    isDestructive: true,
  });
  if (answer === null) return false;
  return act(() => call("DELETE", pathOf(name), { query: { etag } }), `${name} is deleted`);
}
