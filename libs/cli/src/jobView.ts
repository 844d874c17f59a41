/** Jobs as tables for people. */
import type { Job, Step } from "@capstan/proto/capstan/job/v1/job.ts";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { formatAge, formatSpan } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { isFinal } from "./jobState.ts";
import { type Column, formatDetails, formatPairs, formatTable } from "./table.ts";

function ageOf(time: Date | undefined, now: Date): string {
  return time === undefined ? "" : formatAge(now.getTime() - time.getTime());
}

/** How long something has run, or ran; "" before it began. */
function spanOf({ startTime, endTime }: { startTime: Date | undefined; endTime: Date | undefined }, now: Date): string {
  return startTime === undefined ? "" : formatSpan((endTime ?? now).getTime() - startTime.getTime());
}

/** What waits for somebody says more than what waits for its turn, and that more than what waits for other steps. */
const tellingStates = ["SUSPENDED", "BACKOFF", "READY", "RUNNING", "BLOCKED"] as const;

/** Why a job has ended, or what it waits for, which is known of its steps first. */
function reasonOf(job: Job): string {
  if (isFinal(job.state) || job.state === "JOB_STATE_CANCELLING") return reasonText(job);
  const telling = tellingStates.flatMap((state) => job.steps.filter((step) => enumWord(step.state) === state));
  const step = telling.find((candidate) => enumWord(candidate.reason) !== "");
  if (step === undefined || (enumWord(step.state) === "BLOCKED" && reasonText(job) !== "")) return reasonText(job);
  return job.steps.length === 1 ? reasonText(step) : `${step.name}: ${reasonText(step)}`;
}

function reasonText({ reason, message }: Pick<Job, "reason" | "message">): string {
  return [enumWord(reason), message].filter(Boolean).join(": ");
}

export function formatJobs(jobs: readonly Job[], now: Date, maxWidth: number | undefined): string {
  const columns: readonly Column<Job>[] = [
    { title: "ID", cell: ({ id }) => id },
    { title: "NAME", cell: ({ spec }) => spec?.name ?? "" },
    { title: "STATE", cell: ({ state }) => enumCell(state) },
    { title: "AGE", cell: ({ createTime }) => ageOf(createTime, now) },
    { title: "TOOK", cell: (job) => spanOf(job, now) },
    { title: "REASON", cell: reasonOf },
  ];
  return formatTable(jobs, columns, maxWidth);
}

/** How far the items of a step are, such as "7/10, 2 running, 1 failed"; "" for other steps. */
function itemsText({ items }: Step): string {
  if (items === undefined) return "";
  const { total, succeeded, failed, running } = items;
  return [
    `${succeeded + failed}/${total}`,
    running > 0 ? `${running} running` : "",
    failed > 0 ? `${failed} failed` : "",
  ]
    .filter(Boolean)
    .join(", ");
}

/** Steps, and items of steps, one a line. Columns in which nobody has anything are left out where that is usual. */
export function formatSteps(steps: readonly Step[], now: Date): string {
  const columns: readonly Column<Step>[] = [
    { title: "STEP", cell: ({ name }) => name },
    { title: "STATE", cell: ({ state }) => enumCell(state) },
    { title: "ATTEMPT", cell: ({ attempt }) => String(attempt) },
    { title: "ITEMS", cell: itemsText },
    { title: "EXIT", cell: ({ exitCode }) => (exitCode === undefined ? "" : String(exitCode)) },
    { title: "TOOK", cell: (step) => spanOf(step, now) },
    { title: "PROVIDER", cell: ({ providerName }) => providerName },
    { title: "EXECUTION", cell: ({ executionId }) => executionId },
    { title: "JOB", cell: ({ childJobId }) => childJobId },
    { title: "REASON", cell: reasonText },
  ];
  const isWanted = ({ title }: Column<Step>) =>
    (title !== "ITEMS" || steps.some(({ items }) => items !== undefined)) &&
    (title !== "JOB" || steps.some(({ childJobId }) => childJobId !== ""));
  return formatTable(steps, columns.filter(isWanted));
}

/** More than this are no help to a person: what goes on is shown, the rest is counted. */
const maxShownSteps = 40;
const shownFirst: readonly string[] = ["FAILED", "TIMED_OUT", "SUSPENDED", "RUNNING", "BACKOFF", "CANCELLED", "READY"];

function formatStepsOfJob({ id, steps }: Job, now: Date): string {
  if (steps.length <= maxShownSteps) return formatSteps(steps, now);
  const rank = (step: Step) => [...shownFirst, enumWord(step.state)].indexOf(enumWord(step.state));
  const shown = new Set(steps.toSorted((left, right) => rank(left) - rank(right)).slice(0, maxShownSteps));
  const left = steps.filter((step) => !shown.has(step));
  const counts = Map.groupBy(left, ({ state }) => enumWord(state));
  const counted = [...counts].map(([state, of]) => `${of.length} ${state}`).join(", ");
  const table = formatSteps(
    steps.filter((step) => shown.has(step)),
    now,
  );
  return `${table}and ${left.length} more: ${counted}; capstan job steps ${id} lists all\n`;
}

/** The most that is shown of an input; all of it is in the other formats. */
const maxInputWidth = 500;

/** What a step asks of a worker; nothing for other steps. */
function formatHandler({ handler, input }: StepSpec): readonly (readonly [string, string])[] {
  if (handler === "") return [];
  return [
    ["Handler", handler],
    ["Input", shortJson(input)],
  ];
}

function shortJson(value: unknown): string {
  if (value === undefined || value === null) return "";
  const json = JSON.stringify(value);
  return json.length > maxInputWidth ? `${json.slice(0, maxInputWidth)}…` : json;
}

/** One job in full, for a person. */
export function formatJob(job: Job, now: Date): string {
  const { spec } = job;
  const [step, ...otherSteps] = spec?.steps ?? [];
  const details = formatDetails([
    ["Id", job.id],
    ["Name", spec?.name ?? ""],
    ["State", enumCell(job.state)],
    ["Reason", reasonOf(job)],
    ["Paused", job.pauseTime === undefined ? "" : `since ${job.pauseTime.toISOString()}`],
    ...(step === undefined || otherSteps.length > 0 ? [] : formatHandler(step)),
    ["Input of the job", shortJson(spec?.input)],
    ["Queue", [spec?.queue ?? "", spec?.concurrencyKey ?? ""].filter(Boolean).join(", key ")],
    ["Labels", formatPairs(spec?.labels ?? {})],
    ["Source", spec?.source ?? ""],
    ["Template", job.template === "" ? "" : `${job.template}, version ${job.templateVersion}`],
    ["Schedule", job.scheduleId],
    ["Sub-job of", job.parentJobId === "" ? "" : `${job.parentJobId}, step ${job.parentStep}`],
    ["Retry of", job.retryOf],
    ["Run again from", job.rerunOf],
    ["Idempotency key", job.idempotencyKey],
    ["Created", job.createTime?.toISOString() ?? ""],
    ["Started", job.startTime?.toISOString() ?? ""],
    ["Ended", job.endTime?.toISOString() ?? ""],
    ["Deadline", job.deadlineTime?.toISOString() ?? ""],
    ["Result", job.result === undefined ? "" : JSON.stringify(job.result)],
  ]);
  return `${details}\n${formatStepsOfJob(job, now)}`;
}
