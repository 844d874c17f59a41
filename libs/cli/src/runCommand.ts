/**
 * `capstan run`: a command somewhere else that feels like one here. Its output, its exit code and Ctrl-C pass through; what the
 * platform itself has to say goes to stderr.
 */
import { randomUUID } from "node:crypto";
import type { Capstan } from "@capstan/client";
import { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import type { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { type Command, Option } from "commander";
import { ExitError, exitCodes, explainFailure, isBrokenPipe, UsageError } from "./failure.ts";
import { followJob } from "./followJob.ts";
import { type Interruptions, interruptions } from "./interruptions.ts";
import {
  type CommonOptions,
  collectEnv,
  collectPairs,
  cpuMillis,
  duration,
  durationMs,
  json,
  memoryMib,
  wholeNumber,
  withCommon,
} from "./options.ts";
import { note, print, toJson, writeTo } from "./output.ts";
import { persist } from "./resume.ts";
import { runExitCodes, runExitCodesHelp, runOutcome } from "./runOutcome.ts";
import { type RunSpecOptions, runSpec } from "./runSpec.ts";
import { present, withCapstan } from "./session.ts";
import { startWaitNotes, type WaitNotes } from "./waitNotes.ts";

interface RunOptions extends CommonOptions, RunSpecOptions {
  readonly stdin?: true;
  readonly detach?: true;
  readonly waitForProvider: number;
}

const maxStdinBytes = 65_536;

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    chunks.push(Buffer.from(chunk));
    length += chunk.length;
    if (length > maxStdinBytes) throw new UsageError("standard input is over the limit of 64 KiB");
  }
  return Buffer.concat(chunks);
}

async function submit(capstan: Capstan, spec: JobSpec): Promise<Job> {
  const { job } = await capstan.jobs.submitJob({
    spec,
    requestId: randomUUID(),
    idempotencyKey: "",
    validateOnly: false,
    template: undefined,
  });
  return present(job);
}

/** The signal that ended the last execution; "" if it exited by itself or never ran. */
async function lastSignal(capstan: Capstan, job: Job): Promise<string> {
  const executionId = job.steps.at(-1)?.executionId ?? "";
  if (job.reason !== "REASON_SIGNAL" || executionId === "") return "";
  const { execution } = await persist(() => capstan.executions.getExecution({ executionId }));
  return execution?.signal ?? "";
}

/** Prints the output of a job until it has ended. When nobody reads it any more, the job is cancelled: it has no purpose left. */
async function followOutput(capstan: Capstan, jobId: string, waiting: WaitNotes, interrupted: Interruptions) {
  try {
    await followJob(capstan, { jobId, onMove: waiting.onMove });
  } catch (error) {
    if (!isBrokenPipe(error)) throw error;
    await interrupted.cancel("its output was closed");
    await followJob(capstan, { jobId, fromAttempt: Number.POSITIVE_INFINITY });
  }
}

/** Follows a job to its confirmed end; gives back the exit code. */
async function followRun(capstan: Capstan, jobId: string, options: RunOptions, interrupted: Interruptions) {
  const waiting = startWaitNotes(capstan, jobId, options, interrupted.cancel);
  try {
    await followOutput(capstan, jobId, waiting, interrupted);
  } finally {
    waiting.stop();
  }
  const job = present((await persist(() => capstan.jobs.getJob({ jobId }))).job);
  const outcome = runOutcome(job, await lastSignal(capstan, job));
  if (job.state === "JOB_STATE_CANCELLED" && waiting.wasGivenUp()) return runExitCodes.platform;
  if (outcome.message !== null) note(outcome.message);
  // A program has printed what it gives back; what a handler returns is seen nowhere else.
  if (options.handler !== undefined && job.result !== undefined) await writeTo(process.stdout, toJson(job.result));
  return outcome.exitCode;
}

/** Submits and stays; an interruption counts from the moment of asking. */
async function runAttached(capstan: Capstan, spec: JobSpec, options: RunOptions): Promise<number> {
  const submitted = submit(capstan, spec).then(({ id }) => id);
  const interrupted = interruptions(submitted, (jobId, message) =>
    persist(() => capstan.jobs.cancelJob({ jobId, message })),
  );
  try {
    return await followRun(capstan, await submitted, options, interrupted);
  } finally {
    interrupted.stop();
  }
}

async function runDetached(capstan: Capstan, spec: JobSpec, { output }: RunOptions): Promise<number> {
  const job = await submit(capstan, spec);
  await print(output, Job.toJSON(job), () => `${job.id}\n`);
  return exitCodes.ok;
}

async function run(command: readonly string[], options: RunOptions): Promise<void> {
  const spec = runSpec(command, options, options.stdin ? await readStdin() : Buffer.alloc(0));
  const exitCode = await withCapstan(options, (capstan) =>
    options.detach ? runDetached(capstan, spec, options) : runAttached(capstan, spec, options),
  );
  if (exitCode !== exitCodes.ok) throw new ExitError(exitCode);
}

/** A failure that is not the workload's own must not look like one of its exit codes. */
async function runWithOwnCodes(command: readonly string[], options: RunOptions): Promise<void> {
  try {
    await run(command, options);
  } catch (error) {
    if (error instanceof ExitError || error instanceof UsageError) throw error;
    const { lines } = explainFailure(error);
    throw new ExitError(runExitCodes.platform, lines);
  }
}

/** Adds `run` to the program. */
export function addRunCommand(program: Command): void {
  withCommon(program.command("run"))
    .summary("run a command or a handler and stay with it")
    .description(
      "Runs a command as a job, prints its output as it comes, and ends with its exit code. Ctrl-C cancels it.",
    )
    .argument("[command...]", "the program and its arguments; may be left out with --image; none with --handler")
    .passThroughOptions()
    .option("--image <image>", "run it in a container of this image")
    .option("--handler <name>", "run a handler of a connected worker instead, and print what it returns")
    .option("--input <json>", "what the handler is given, such as '{\"width\": 200}'", json)
    .option("--name <name>", "name of the job (default: the program's or the handler's)")
    .option("-e, --env <KEY=VALUE>", "set a variable of its environment; KEY alone takes ours", collectEnv)
    .option("--cpu <amount>", 'CPU it needs, such as "500m" or "2"', cpuMillis)
    .option("--memory <amount>", 'memory it needs, such as "128Mi"', memoryMib)
    .option("--provider <name>", "run it there and nowhere else")
    .addOption(new Option("--network <network>", "what a container sees of the network").choices(["none", "bridge"]))
    .option("--timeout <time>", "how long the job may take, waiting included", duration)
    .option("--run-timeout <time>", "how long an attempt may run", duration)
    .option("--retries <n>", "how often to repeat a failed attempt", wholeNumber(0, 99))
    .option("-l, --label <KEY=VALUE>", "label the job", collectPairs)
    .option("-w, --workdir <path>", "directory it runs in, absolute")
    .option("-i, --stdin", "give our standard input to it, at most 64 KiB, read to the end first")
    .option("-d, --detach", "print the job's id and leave it")
    .addOption(
      new Option("--wait-for-provider <time>", "how long a provider may be missing before giving up")
        .argParser(durationMs)
        .default(5_000, "5s"),
    )
    .addHelpText("after", `${runExitCodesHelp}\n\nExample: capstan run --cpu 500m --retries 2 -- sh -c 'echo hello'`)
    .action(runWithOwnCodes);
}
