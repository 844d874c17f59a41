/** `capstan job logs`: the output of a job, of whichever attempt. */
import type { Capstan } from "@capstan/client";
import type { Job, Step } from "@capstan/proto/capstan/job/v1/job.ts";
import { type Command, InvalidArgumentError } from "commander";
import { enumWord } from "./enumWord.ts";
import { printLog } from "./executionLog.ts";
import { ExitError, exitCodes, UsageError } from "./failure.ts";
import { quote } from "./filter.ts";
import { followJob } from "./followJob.ts";
import { findStep, isFinal } from "./jobState.ts";
import { type ConnectionOptions, withAddress } from "./options.ts";
import { note } from "./output.ts";
import { firstItems } from "./pages.ts";
import { present, withCapstan } from "./session.ts";

interface JobLogsOptions extends ConnectionOptions {
  readonly follow?: true;
  readonly step?: string;
  readonly attempt: number | "last" | "all";
}

/** The executions of a step, oldest first; one an attempt. */
async function executionIdsOf(
  capstan: Capstan,
  job: Job,
  step: Step,
  attempt: number | "all",
): Promise<readonly string[]> {
  const parts = [`job_id = ${quote(job.id)}`, `step = ${quote(step.name)}`];
  if (attempt !== "all") parts.push(`attempt = ${attempt}`);
  const found = await firstItems(1_000, async (page) => {
    const { executions, nextPageToken } = await capstan.executions.listExecutions({
      ...page,
      filter: parts.join(" AND "),
    });
    return { items: executions, nextPageToken };
  });
  if (found.length === 0 && attempt !== "all") {
    throw new UsageError(
      `step "${step.name}" has no execution of attempt ${attempt}; its last attempt is ${step.attempt}`,
    );
  }
  return found.map(({ id }) => id).reverse();
}

/** An item of a step, such as `build.3`; null if that is not what is meant. */
async function findItem(capstan: Capstan, job: Job, name: string | undefined): Promise<Step | null> {
  const [, parentStep, index] = /^(.+)\.(\d{1,5})$/.exec(name ?? "") ?? [];
  if (parentStep === undefined || !job.steps.some((step) => step.name === parentStep)) return null;
  // They come in their order, so that no more are asked for than stand before it.
  const items = await firstItems(Number(index) + 1, async (page) => {
    const { steps, nextPageToken } = await capstan.jobs.listSteps({ jobId: job.id, parentStep, ...page });
    return { items: steps, nextPageToken };
  });
  return items.find((item) => item.name === name) ?? null;
}

async function printJobLogs(jobId: string, options: JobLogsOptions): Promise<void> {
  const follow = options.follow === true;
  await withCapstan(options, async (capstan) => {
    const job = present((await capstan.jobs.getJob({ jobId })).job);
    const step = (await findItem(capstan, job, options.step)) ?? findStep(job, options.step);
    const { attempt } = options;
    if (follow && !isFinal(job.state) && typeof attempt === "string") {
      return followJob(capstan, { jobId, step: step.name, fromAttempt: attempt === "all" ? 1 : step.attempt });
    }
    const last = step.executionId === "" ? [] : [step.executionId];
    const executionIds = attempt === "last" ? last : await executionIdsOf(capstan, job, step, attempt);
    if (executionIds.length === 0) {
      note(`step "${step.name}" has not run: ${enumWord(step.state)} ${enumWord(step.reason)}`);
      throw new ExitError(exitCodes.refused);
    }
    for (const executionId of executionIds) await printLog(capstan, executionId, follow);
  });
}

function attemptOf(text: string): JobLogsOptions["attempt"] {
  if (text === "last" || text === "all") return text;
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('It must be a number from 1, "last" or "all".');
  return Number(text);
}

/** Adds `logs` to `capstan job`. */
export function addJobLogsCommand(job: Command): void {
  withAddress(job.command("logs"))
    .description("Print the output of a job: standard output to ours, standard error to ours, byte for byte.")
    .argument("<job-id>")
    .option("-f, --follow", "stay until the job has ended, through its retries")
    .option("--step <name>", "of this step, or of an item such as build.3; needed if there are several")
    .option("--attempt <n>", 'of this attempt, "last" or "all"', attemptOf, "last")
    .action(printJobLogs);
}
