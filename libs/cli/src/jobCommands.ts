/** `capstan job …`: everything about jobs but submitting them and reading their output. */
import { randomUUID } from "node:crypto";
import type { Capstan } from "@capstan/client";
import { Job, Step } from "@capstan/proto/capstan/job/v1/job.ts";
import { type Event, Event as EventMessage } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { Command } from "commander";
import { durationOfMs } from "./durations.ts";
import { enumWord } from "./enumWord.ts";
import { type FactView, factLine, factName, tellingValues } from "./factView.ts";
import { ExitError, exitCodes } from "./failure.ts";
import { buildFilter } from "./filter.ts";
import { watchJob } from "./followJob.ts";
import { isFinal } from "./jobState.ts";
import { formatJob, formatJobs, formatSteps } from "./jobView.ts";
import {
  type CommonOptions,
  collect,
  collectPairs,
  durationMs,
  limitOption,
  wholeNumber,
  withCommon,
} from "./options.ts";
import { note, type OutputFormat, print, printNext, terminalWidth } from "./output.ts";
import { firstItems } from "./pages.ts";
import { persist } from "./resume.ts";
import { present, withCapstan } from "./session.ts";
import { formatTable } from "./table.ts";

async function printJob(output: OutputFormat, job: Job): Promise<void> {
  await print(output, Job.toJSON(job), () => formatJob(job, new Date()));
}

function viewOf({ type, sequence, time, data }: Event): FactView {
  return { type, sequence, time, data, aggregateId: "" };
}

function getJob(jobId: string, options: CommonOptions): Promise<void> {
  return withCapstan(options, async ({ jobs }) =>
    printJob(options.output, present((await jobs.getJob({ jobId })).job)),
  );
}

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly state?: readonly string[];
  readonly label?: Readonly<Record<string, string>>;
  readonly limit: number;
  readonly orderBy?: string;
}

function listJobs(options: ListOptions): Promise<void> {
  const states = (options.state ?? []).map((state) => enumWord(state.toUpperCase()));
  const filter = buildFilter({ filter: options.filter, anyOf: { state: states }, labels: options.label });
  const orderBy = options.orderBy ?? "";
  return withCapstan(options, async (capstan) => {
    const found = await firstItems(options.limit, async (page) => {
      const { jobs, nextPageToken } = await capstan.jobs.listJobs({ ...page, filter, orderBy });
      return { items: jobs, nextPageToken };
    });
    await print(
      options.output,
      found.map((job) => Job.toJSON(job)),
      () => formatJobs(found, new Date(), terminalWidth()),
    );
  });
}

function printFacts(jobId: string, options: CommonOptions & { readonly after: number }): Promise<void> {
  return withCapstan(options, async (capstan) => {
    for await (const event of watchJob(capstan, { jobId, afterSequence: options.after })) {
      await printNext(options.output, EventMessage.toJSON(event), () => factLine(viewOf(event)));
    }
  });
}

/** The longest wait that the platform grants in one call. */
const longestWaitMs = 600_000;

/** Waits for the end of a job; gives back null when the time was over first. Without a time it waits as long as it takes. */
export async function waitForEnd(capstan: Capstan, jobId: string, timeoutMs: number | undefined): Promise<Job | null> {
  const endTime = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  const wait = () => {
    const waitMs = Math.max(0, Math.min(longestWaitMs, endTime - performance.now()));
    // The call must outlive the wait that it asks for.
    const settings = { deadlineMs: waitMs + 10_000 };
    return capstan.jobs.waitJob({ jobId, timeout: durationOfMs(Math.ceil(waitMs)) }, settings);
  };
  // Asked first, so that a platform that is not there is told at once; from here on a restart of it is waited out.
  await capstan.jobs.getJob({ jobId });
  for (;;) {
    const { job, done } = await persist(wait);
    if (done) return present(job);
    if (performance.now() >= endTime) return null;
  }
}

async function waitForJobs(jobIds: readonly string[], options: CommonOptions & { timeout?: number }): Promise<void> {
  await withCapstan(options, async (capstan) => {
    const ended = await Promise.all(jobIds.map((jobId) => waitForEnd(capstan, jobId, options.timeout)));
    const jobs = ended.filter((job) => job !== null);
    await print(
      options.output,
      jobs.map((job) => Job.toJSON(job)),
      () => formatJobs(jobs, new Date(), terminalWidth()),
    );
    requireSuccess(jobs, jobIds.length);
  });
}

/** Ends the command with its own exit code unless all jobs have succeeded. */
export function requireSuccess(jobs: readonly Job[], count: number): void {
  if (jobs.length < count) note(`${count - jobs.length} of ${count} have not ended in time`);
  const isSuccess = jobs.length === count && jobs.every(({ state }) => state === "JOB_STATE_SUCCEEDED");
  if (!isSuccess) throw new ExitError(exitCodes.unsuccessful);
}

async function cancelJobs(jobIds: readonly string[], options: CommonOptions & { message?: string }): Promise<void> {
  await withCapstan(options, async (capstan) => {
    const request = { message: options.message ?? "" };
    const answers = await Promise.allSettled(jobIds.map((jobId) => capstan.jobs.cancelJob({ jobId, ...request })));
    const jobs = answers.flatMap((answer) => (answer.status === "fulfilled" ? [present(answer.value.job)] : []));
    await print(
      options.output,
      jobs.map((job) => Job.toJSON(job)),
      () => formatJobs(jobs, new Date(), terminalWidth()),
    );
    for (const job of jobs) if (!isFinal(job.state)) note(`job ${job.id} is being stopped; capstan job wait ${job.id}`);
    const refused = answers.find((answer) => answer.status === "rejected");
    if (refused !== undefined) throw refused.reason;
  });
}

function retryJob(jobId: string, options: CommonOptions & { readonly fromFailed?: true }): Promise<void> {
  return withCapstan(options, async ({ jobs }) => {
    const fromFailed = options.fromFailed === true;
    const { job } = await jobs.retryJob({ jobId, requestId: randomUUID(), fromFailed });
    await printJob(options.output, present(job));
  });
}

function listFacts(jobId: string, options: CommonOptions & { readonly limit: number }): Promise<void> {
  return withCapstan(options, async (capstan) => {
    const found = await firstItems(options.limit, async (page) => {
      const { events, nextPageToken } = await capstan.jobs.listJobEvents({ jobId, ...page });
      return { items: events, nextPageToken };
    });
    const asTable = () =>
      formatTable(found, [
        { title: "#", cell: ({ sequence }) => String(sequence) },
        { title: "TIME", cell: ({ time }) => time?.toISOString() ?? "" },
        { title: "FACT", cell: ({ type }) => factName(type) },
        { title: "DETAILS", cell: ({ data }) => tellingValues(data) },
      ]);
    await print(
      options.output,
      found.map((event) => EventMessage.toJSON(event)),
      asTable,
    );
  });
}

function listSteps(
  jobId: string,
  options: CommonOptions & { readonly limit: number; readonly step?: string },
): Promise<void> {
  return withCapstan(options, async (capstan) => {
    const parentStep = options.step ?? "";
    const found = await firstItems(options.limit, async (page) => {
      const { steps, nextPageToken } = await capstan.jobs.listSteps({ jobId, parentStep, ...page });
      return { items: steps, nextPageToken };
    });
    await print(
      options.output,
      found.map((step) => Step.toJSON(step)),
      () => formatSteps(found, new Date()),
    );
  });
}

/** Adds the commands to `capstan job`. */
export function addJobCommands(job: Command): void {
  withCommon(job.command("get"))
    .description("Show one job, its steps and why it is where it is.")
    .argument("<job-id>")
    .action(getJob);
  withCommon(job.command("list"))
    .description("List jobs, newest first.")
    .option("--filter <filter>", `AIP-160, such as: state = FAILED AND labels.team = "red"`)
    .option("--state <state>", "only in this state; may be repeated", collect)
    .option("-l, --label <KEY=VALUE>", "only with this label; may be repeated", collectPairs)
    .option("--order-by <order>", '"create_time desc" (default), "create_time", "name" or "name desc"')
    .addOption(limitOption())
    .action(listJobs);
  withCommon(job.command("watch"))
    .description("Print the facts of a job as they happen, until it has ended.")
    .argument("<job-id>")
    .option("--after <sequence>", "only facts after this one", wholeNumber(0, 2_147_483_647), 0)
    .action(printFacts);
  withCommon(job.command("wait"))
    .description("Wait until jobs have ended. Exit code 0 if all have succeeded, otherwise 4.")
    .argument("<job-id...>")
    .option("--timeout <time>", "how long to wait (default: as long as it takes)", durationMs)
    .action(waitForJobs);
  withCommon(job.command("cancel"))
    .description("Ask jobs to end. What runs is stopped; job wait tells when that is confirmed.")
    .argument("<job-id...>")
    .option("--message <text>", "why, for people")
    .action(cancelJobs);
  withCommon(job.command("retry"))
    .description("Run a job that has ended without success again, as a new job.")
    .argument("<job-id>")
    .option("--from-failed", "keep the results of the steps that have succeeded")
    .action(retryJob);
  withCommon(job.command("steps"))
    .description("List the steps of a job, and the items of those that run once for each.")
    .argument("<job-id>")
    .option("--step <name>", "only the items of this step")
    .addOption(limitOption().default(11_000))
    .action(listSteps);
  withCommon(job.command("events"))
    .description("List the facts of a job.")
    .argument("<job-id>")
    .addOption(limitOption().default(1_000))
    .action(listFacts);
}
