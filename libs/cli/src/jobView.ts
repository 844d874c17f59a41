/** Jobs as tables for people. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
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

/** Why a job has ended, or what it waits for, which is known of its steps first. */
function reasonOf(job: Job): { readonly reason: string; readonly message: string } {
  const candidates = isFinal(job.state) || job.state === "JOB_STATE_CANCELLING" ? [job] : [...job.steps, job];
  const source = candidates.find(({ reason }) => enumWord(reason) !== "");
  return { reason: enumWord(source?.reason ?? ""), message: source?.message ?? "" };
}

export function formatJobs(jobs: readonly Job[], now: Date, maxWidth: number | undefined): string {
  const columns: readonly Column<Job>[] = [
    { title: "ID", cell: ({ id }) => id },
    { title: "NAME", cell: ({ spec }) => spec?.name ?? "" },
    { title: "STATE", cell: ({ state }) => enumCell(state) },
    { title: "AGE", cell: ({ createTime }) => ageOf(createTime, now) },
    { title: "TOOK", cell: (job) => spanOf(job, now) },
    { title: "REASON", cell: (job) => Object.values(reasonOf(job)).filter(Boolean).join(": ") },
  ];
  return formatTable(jobs, columns, maxWidth);
}

function formatSteps(job: Job, now: Date): string {
  return formatTable(job.steps, [
    { title: "STEP", cell: ({ name }) => name },
    { title: "STATE", cell: ({ state }) => enumCell(state) },
    { title: "ATTEMPT", cell: ({ attempt }) => String(attempt) },
    { title: "EXIT", cell: ({ exitCode }) => (exitCode === undefined ? "" : String(exitCode)) },
    { title: "TOOK", cell: (step) => spanOf(step, now) },
    { title: "PROVIDER", cell: ({ providerName }) => providerName },
    { title: "EXECUTION", cell: ({ executionId }) => executionId },
    { title: "REASON", cell: ({ reason, message }) => [enumWord(reason), message].filter(Boolean).join(": ") },
  ]);
}

/** The most that is shown of an input; all of it is in the other formats. */
const maxInputWidth = 500;

/** What a step asks of a worker; nothing for other steps. */
function formatHandler({ handler, input }: StepSpec): readonly (readonly [string, string])[] {
  if (handler === "") return [];
  const json = input === undefined || input === null ? "" : JSON.stringify(input);
  const shown = json.length > maxInputWidth ? `${json.slice(0, maxInputWidth)}…` : json;
  return [
    ["Handler", handler],
    ["Input", shown],
  ];
}

/** One job in full, for a person. */
export function formatJob(job: Job, now: Date): string {
  const { reason, message } = reasonOf(job);
  const details = formatDetails([
    ["Id", job.id],
    ["Name", job.spec?.name ?? ""],
    ["State", enumCell(job.state)],
    ["Reason", [reason, message].filter(Boolean).join(": ")],
    ...(job.spec?.steps ?? []).flatMap(formatHandler),
    ["Labels", formatPairs(job.spec?.labels ?? {})],
    ["Source", job.spec?.source ?? ""],
    ["Retry of", job.retryOf],
    ["Idempotency key", job.idempotencyKey],
    ["Created", job.createTime?.toISOString() ?? ""],
    ["Started", job.startTime?.toISOString() ?? ""],
    ["Ended", job.endTime?.toISOString() ?? ""],
    ["Deadline", job.deadlineTime?.toISOString() ?? ""],
    ["Result", job.result === undefined ? "" : JSON.stringify(job.result)],
  ]);
  return `${details}\n${formatSteps(job, now)}`;
}
