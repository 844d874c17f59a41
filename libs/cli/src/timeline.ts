/** What happened to a job, from the facts of all contexts that tell of it, with the time between them, and its attempts with their ends. */
import type { Capstan } from "@capstan/client";
import type { Execution } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { Event } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { SagaEvent } from "@capstan/proto/capstan/orchestrator/v1/saga_event.ts";
import type { SagaFact } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { formatSpan } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { factName, tellingValues } from "./factView.ts";
import { buildFilter } from "./filter.ts";
import { firstItems } from "./pages.ts";
import { formatTable } from "./table.ts";

interface TimelineEntry {
  readonly time: Date;
  /** A fact's name, such as `step.ready`; or `execution.assigned`, of which no fact tells. */
  readonly fact: string;
  readonly details: string;
}

interface JobHistory {
  /** In the order of time. */
  readonly timeline: readonly TimelineEntry[];
  /** In the order in which they were assigned. */
  readonly executions: readonly Execution[];
}

/** So many facts of each context are read and shown at most, the first ones; and so many attempts, the last ones. */
const maxFacts = 20_000;

export async function readHistory({ jobs, sagas, executions: runs }: Capstan, jobId: string): Promise<JobHistory> {
  const filter = buildFilter({ anyOf: { job_id: [jobId] } });
  const [jobFacts, sagaFacts, executions] = await Promise.all([
    firstItems(maxFacts, async (page) => {
      const { events, nextPageToken } = await jobs.listJobEvents({ jobId, ...page });
      return { items: events, nextPageToken };
    }),
    firstItems(maxFacts, async (page) => {
      const { events, nextPageToken } = await sagas.listSagaEvents({ jobId, ...page });
      return { items: events, nextPageToken };
    }),
    firstItems(maxFacts, async (page) => {
      const answer = await runs.listExecutions({ filter, ...page });
      return { items: answer.executions, nextPageToken: answer.nextPageToken };
    }),
  ]);
  return historyOf(jobFacts, sagaFacts, executions);
}

export function historyOf(
  jobFacts: readonly Event[],
  sagaFacts: readonly SagaFact[],
  executions: readonly Execution[],
): JobHistory {
  const entries = [
    ...jobFacts.flatMap(({ time, type, data }) => entryOf(time, factName(type), tellingValues(data))),
    ...sagaFacts.flatMap(({ time, type, data }) => entryOf(time, factName(type), sagaDetails(data))),
    ...executions.flatMap(entriesOfExecution),
  ];
  const byTime = (left: Date | undefined, right: Date | undefined) => (left?.getTime() ?? 0) - (right?.getTime() ?? 0);
  return {
    timeline: entries.toSorted((left, right) => byTime(left.time, right.time)),
    executions: executions.toSorted((left, right) => byTime(left.createTime, right.createTime)),
  };
}

function entryOf(time: Date | undefined, fact: string, details: string): readonly TimelineEntry[] {
  return time === undefined ? [] : [{ time, fact, details }];
}

function sagaDetails(data: SagaEvent | undefined): string {
  if (data === undefined) return "";
  const by = data.actor === "" ? "" : tellingValues({ name: data.actor, message: data.note }).replace("name=", "by=");
  return [tellingValues(SagaEvent.toJSON(data)), by].filter(Boolean).join(" ");
}

function entriesOfExecution(execution: Execution): readonly TimelineEntry[] {
  const { step, attempt, providerName, createTime, startTime, endTime, state } = execution;
  const which = { step, attempt, providerName };
  const { reason, exitCode, signal, message } = execution;
  const end = tellingValues({ ...which, reason, exitCode, signal, message });
  return [
    ...entryOf(createTime, "execution.assigned", tellingValues(which)),
    ...entryOf(startTime, "execution.started", tellingValues(which)),
    ...entryOf(endTime, `execution.${enumWord(state).toLowerCase()}`, end),
  ];
}

/** More are no help to a person. */
const maxShown = 40;

/** For people: the attempts, and the newest of what happened. */
export function formatHistory({ timeline, executions }: JobHistory, jobId: string): string {
  const shown = timeline.slice(-maxShown);
  const left = timeline.length - shown.length;
  const more = left === 0 ? "" : `after ${left} more; capstan job events ${jobId} lists those of the job\n`;
  return [formatAttempts(executions, jobId), `${more}${formatTimeline(shown)}`].filter(Boolean).join("\n");
}

function formatAttempts(executions: readonly Execution[], jobId: string): string {
  if (executions.length === 0) return "";
  const shown = executions.slice(-maxShown);
  const left = executions.length - shown.length;
  const more = left === 0 ? "" : `after ${left} more; capstan execution list --job ${jobId} lists all\n`;
  const table = formatTable(shown, [
    { title: "STEP", cell: ({ step }) => step },
    { title: "ATTEMPT", cell: ({ attempt }) => String(attempt) },
    { title: "STATE", cell: ({ state }) => enumCell(state) },
    { title: "PROVIDER", cell: ({ providerName }) => providerName },
    { title: "EXIT", cell: ({ exitCode, signal }) => signal || (exitCode === undefined ? "" : String(exitCode)) },
    { title: "STARTED AFTER", cell: ({ createTime, startTime }) => spanBetween(createTime, startTime) },
    { title: "TOOK", cell: ({ startTime, endTime }) => spanBetween(startTime, endTime) },
    { title: "REASON", cell: ({ reason, message }) => [enumWord(reason), message].filter(Boolean).join(": ") },
  ]);
  return `${more}${table}`;
}

function formatTimeline(entries: readonly TimelineEntry[]): string {
  const rows = entries.map((entry, index) => ({ ...entry, before: entries[index - 1]?.time }));
  return formatTable(rows, [
    { title: "TIME", cell: ({ time }) => time.toISOString() },
    { title: "AFTER", cell: ({ before, time }) => spanBetween(before, time) },
    { title: "FACT", cell: ({ fact }) => fact },
    { title: "DETAILS", cell: ({ details }) => details },
  ]);
}

function spanBetween(from: Date | undefined, to: Date | undefined): string {
  return from === undefined || to === undefined ? "" : formatSpan(to.getTime() - from.getTime());
}
