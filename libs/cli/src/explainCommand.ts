/** `capstan explain`: where a job is, why, since when, and what would have to change; and what has happened to it. */
import type { Capstan } from "@capstan/client";
import { Execution } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { Job, Step } from "@capstan/proto/capstan/job/v1/job.ts";
import { type AttemptExplanation, ExplainJobResponse } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { Command } from "commander";
import { formatAge, formatSpan } from "./durations.ts";
import { enumWord } from "./enumWord.ts";
import { UsageError } from "./failure.ts";
import { nameOfJobFile, parseJobFile, readJobFile } from "./jobFile.ts";
import { type CommonOptions, withCommon } from "./options.ts";
import { print } from "./output.ts";
import { present, withCapstan } from "./session.ts";
import { formatHistory, readHistory } from "./timeline.ts";
import { visibleText } from "./visibleText.ts";

/** What would have to happen to a step that waits for no place. */
function stepRemedy({ reason }: Step, jobId: string): string {
  switch (reason) {
    case "REASON_APPROVAL":
      return `somebody has to decide: capstan job approve ${jobId}`;
    case "REASON_AWAITING_SIGNAL":
      return `the signal has to come: capstan job signal ${jobId}`;
    case "REASON_JOB_PAUSED":
      return `capstan job resume ${jobId}`;
    case "REASON_SUB_JOB":
      return "its sub-job has to end; explain that one";
    case "REASON_WAITING_DEPENDENCY":
    case "REASON_MAX_PARALLEL":
      return "the steps before it have to end";
    default:
      return "";
  }
}

function sayWhy(reason: string, message: string): string {
  return [reason, message].filter((text) => text !== "").join(": ");
}

function line(name: string, text: string): readonly string[] {
  return text === "" ? [] : [`  ${name.padEnd(10)}${visibleText(text)}`];
}

const maxRefusals = 5;

function linesOfAttempt(attempt: AttemptExplanation, now: Date): readonly string[] {
  const { step, stage, since, ahead, estimatedBeginTime: begin, refusals, remedy } = attempt;
  const age = since === undefined ? "" : `, for ${formatAge(now.getTime() - since.getTime())}`;
  const number = attempt.attempt > 1 ? ` attempt ${attempt.attempt}` : "";
  const estimate = begin === undefined ? "" : `; may begin in about ${formatSpan(begin.getTime() - now.getTime())}`;
  return [
    `step ${step}${number}${stage === "" ? "" : ` is ${stage}${age}`}`,
    ...line("why", sayWhy(enumWord(attempt.reason), attempt.message)),
    ...line("in line", ahead < 0 ? "" : `${ahead === 0 ? "the first" : `${ahead} before it`}${estimate}`),
    ...refusals
      .slice(0, maxRefusals)
      .flatMap((each) => line("refused", `${each.providerName}: ${each.filter}: ${each.message}`)),
    ...line("", refusals.length > maxRefusals ? `and ${refusals.length - maxRefusals} more providers` : ""),
    ...line("to change", remedy),
  ];
}

/** Steps that wait for something else than a place are explained by the job itself. */
function linesOfStep(step: Step, jobId: string, now: Date): readonly string[] {
  const state = enumWord(step.state);
  const age = step.stateTime === undefined ? "" : `, for ${formatAge(now.getTime() - step.stateTime.getTime())}`;
  const due = step.dueTime === undefined ? "" : `in ${formatSpan(step.dueTime.getTime() - now.getTime())}, by itself`;
  return [
    `step ${step.name} is ${state}${age}`,
    ...line("why", sayWhy(enumWord(step.reason), step.message)),
    ...line("goes on", due),
    ...line("to change", stepRemedy(step, jobId)),
  ];
}

function queueLines({ queue }: ExplainJobResponse): readonly string[] {
  if (queue?.queue === undefined) return [];
  const { waiting = 0, running = 0, drainPerSecond = 0 } = queue.stats ?? {};
  const state = queue.queue.isPaused ? " is PAUSED;" : "";
  return [
    `queue ${queue.queue.name}${state} ${waiting} waiting, ${running} running, ${drainPerSecond.toFixed(1)} begun per second`,
  ];
}

const waitingStates = ["STEP_STATE_BLOCKED", "STEP_STATE_BACKOFF", "STEP_STATE_SUSPENDED"];
/** Of many steps that wait for the same, the first tell it all. */
const maxSteps = 20;

export function explanationOf(job: Job, answer: ExplainJobResponse, now: Date): string {
  const waiting = job.steps.filter(({ state }) => waitingStates.includes(state));
  const why = sayWhy(enumWord(job.reason), job.message);
  const more = waiting.length > maxSteps ? [`and ${waiting.length - maxSteps} more steps`] : [];
  const since = job.endTime ?? job.startTime ?? job.createTime;
  const age = since === undefined ? "" : `, for ${formatAge(now.getTime() - since.getTime())}`;
  return `${[
    `job ${job.id} is ${enumWord(job.state)}${age}${why === "" ? "" : visibleText(`: ${why}`)}`,
    ...answer.attempts.flatMap((attempt) => linesOfAttempt(attempt, now)),
    ...waiting.slice(0, maxSteps).flatMap((step) => linesOfStep(step, job.id, now)),
    ...more,
    ...queueLines(answer),
  ].join("\n")}\n`;
}

/** What is being started says itself what that takes: its image is pulled, or its engine does not answer. */
async function withStarts({ executions }: Capstan, answer: ExplainJobResponse): Promise<ExplainJobResponse> {
  const attempts = await Promise.all(
    answer.attempts.map(async (attempt, index) => {
      if (attempt.stage !== "RESERVED" || index >= maxSteps) return attempt;
      const { executionId } = attempt;
      const { execution } = await executions.getExecution({ executionId }).catch(() => ({ execution: undefined }));
      if (execution === undefined || execution.message === "") return attempt;
      return { ...attempt, reason: execution.reason, message: execution.message };
    }),
  );
  return { ...answer, attempts };
}

async function explainJob(capstan: Capstan, jobId: string, { output }: CommonOptions): Promise<void> {
  const job = present((await capstan.jobs.getJob({ jobId })).job);
  const answer = await withStarts(capstan, await capstan.queues.explainJob({ jobId, spec: undefined }));
  const history = await readHistory(capstan, jobId);
  const value = {
    ...(ExplainJobResponse.toJSON(answer) as object),
    executions: history.executions.map((execution) => Execution.toJSON(execution)),
    timeline: history.timeline,
  };
  await print(output, value, () => `${explanationOf(job, answer, new Date())}\n${formatHistory(history, jobId)}`);
}

async function explainFile({ queues }: Capstan, file: string, { output }: CommonOptions): Promise<void> {
  const [spec, ...others] = parseJobFile(await readJobFile(file), nameOfJobFile(file));
  if (others.length > 0)
    throw new UsageError(`${nameOfJobFile(file)} holds ${others.length + 1} jobs; explain takes one`);
  const answer = await queues.explainJob({ jobId: "", spec });
  const now = new Date();
  await print(
    output,
    ExplainJobResponse.toJSON(answer),
    () =>
      `${["not submitted; if it were", ...answer.attempts.flatMap((attempt) => linesOfAttempt(attempt, now)), ...queueLines(answer)].join("\n")}\n`,
  );
}

async function explain(jobId: string | undefined, options: CommonOptions & { readonly file?: string }): Promise<void> {
  const { file } = options;
  if ((jobId === undefined) === (file === undefined)) throw new UsageError("name a job, or a file with -f");
  await withCapstan(options, (capstan) =>
    file === undefined ? explainJob(capstan, jobId ?? "", options) : explainFile(capstan, file, options),
  );
}

/** Adds `explain` to `capstan`. */
export function addExplainCommand(program: Command): void {
  withCommon(program.command("explain"))
    .description(
      "Say where a job is, why, since when, and what would have to change, then its attempts and what happened to it, with the time between; with -f, before it is submitted.",
    )
    .argument("[job]", "its id")
    .option("-f, --file <path>", "a job file that is not submitted; - reads standard input")
    .action(explain);
}
