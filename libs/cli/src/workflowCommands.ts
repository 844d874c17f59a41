/** `capstan job approve`, `signal` …: what people and programs tell a job that is under way, and jobs made of one that has ended. */
import { randomUUID } from "node:crypto";
import { userInfo } from "node:os";
import { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import type { ApprovalDecision } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { Command } from "commander";
import { UsageError } from "./failure.ts";
import { formatJob } from "./jobView.ts";
import { type CommonOptions, collectPairs, json, withCommon } from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";
import { present, withCapstan } from "./session.ts";

async function printJob(output: OutputFormat, job: Job | undefined): Promise<void> {
  const given = present(job);
  await print(output, Job.toJSON(given), () => formatJob(given, new Date()));
}

interface DecideOptions extends CommonOptions {
  readonly step?: string;
  readonly note?: string;
  readonly fields?: unknown;
  readonly field?: Readonly<Record<string, string>>;
  readonly by?: string;
}

/** The step that is meant: the only one that waits for a decision, unless one is named. */
export function approvalOf(job: Pick<Job, "id" | "steps">, name: string | undefined): string {
  if (name !== undefined) return name;
  const waiting = job.steps.filter(
    (step) => step.state === "STEP_STATE_SUSPENDED" && step.reason === "REASON_APPROVAL",
  );
  const [only, ...others] = waiting;
  if (only !== undefined && others.length === 0) return only.name;
  throw new UsageError(
    only === undefined
      ? `no step of job ${job.id} waits for an approval`
      : `${waiting.length} steps of job ${job.id} wait for an approval; name one with --step: ${waiting.map((step) => step.name).join(", ")}`,
  );
}

function isObject(value: unknown): value is { [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** All fields together; those that were given one by one take the place of others. */
export function fieldsOf({ fields, field }: Pick<DecideOptions, "fields" | "field">) {
  if (fields !== undefined && !isObject(fields)) throw new UsageError("--fields must be a JSON object");
  return fields === undefined && field === undefined ? undefined : { ...fields, ...field };
}

function decide(decision: ApprovalDecision): (jobId: string, options: DecideOptions) => Promise<void> {
  return async (jobId, options) => {
    const fields = fieldsOf(options);
    await withCapstan(options, async ({ jobs }) => {
      const step = approvalOf(
        options.step === undefined ? present((await jobs.getJob({ jobId })).job) : { id: jobId, steps: [] },
        options.step,
      );
      const by = options.by ?? userInfo().username;
      const { job } = await jobs.decideApproval({ jobId, step, decision, note: options.note ?? "", fields, by });
      await printJob(options.output, job);
    });
  };
}

async function sendSignal(jobId: string, name: string, options: CommonOptions & { payload?: unknown }): Promise<void> {
  await withCapstan(options, async ({ jobs }) => {
    const request = { jobId, name, payload: options.payload, requestId: randomUUID() };
    const { job, taken } = await jobs.sendSignal(request);
    if (!taken) note(`no step waits for the signal ${name} now; it is kept for the next that does`);
    await printJob(options.output, job);
  });
}

async function pauseJob(jobId: string, options: CommonOptions & { message?: string }): Promise<void> {
  await withCapstan(options, async ({ jobs }) =>
    printJob(options.output, (await jobs.pauseJob({ jobId, message: options.message ?? "" })).job),
  );
}

async function resumeJob(jobId: string, options: CommonOptions): Promise<void> {
  await withCapstan(options, async ({ jobs }) => printJob(options.output, (await jobs.resumeJob({ jobId })).job));
}

async function rerunJob(jobId: string, options: CommonOptions & { input?: unknown }): Promise<void> {
  await withCapstan(options, async ({ jobs }) => {
    const { job } = await jobs.rerunJob({ jobId, input: options.input, requestId: randomUUID() });
    await printJob(options.output, job);
  });
}

/** Adds the commands to `capstan job`. */
export function addWorkflowCommands(job: Command): void {
  for (const [name, decision, what] of [
    ["approve", "APPROVAL_DECISION_APPROVE", "Approve a step that waits for it; the job goes on."],
    ["reject", "APPROVAL_DECISION_REJECT", "Reject a step that waits for an approval; the step fails."],
  ] as const) {
    withCommon(job.command(name))
      .description(what)
      .argument("<job-id>")
      .option("--step <name>", "the step; needed if several wait")
      .option("--note <text>", "why, for people")
      .option("--fields <json>", "what the job needs to know of it, as a JSON object; in the step's result", json)
      .option("--field <KEY=VALUE>", "one of them, as text; may be repeated", collectPairs)
      .option("--by <name>", "who decides (default: the user of this machine)")
      .action(decide(decision));
  }
  withCommon(job.command("signal"))
    .description("Give a signal to a job; the step that waits for it goes on, or the next one that will.")
    .argument("<job-id>")
    .argument("<name>", "the signal's name")
    .option("--payload <json>", "what it carries; the result of the step", json)
    .action(sendSignal);
  withCommon(job.command("pause"))
    .description("Begin nothing more of a job; what runs goes on.")
    .argument("<job-id>")
    .option("--message <text>", "why, for people")
    .action(pauseJob);
  withCommon(job.command("resume")).description("Let a paused job go on.").argument("<job-id>").action(resumeJob);
  withCommon(job.command("rerun"))
    .description("Run the steps of a job that has ended again, as a new job, with another input if one is given.")
    .argument("<job-id>")
    .option("--input <json>", "the new input (default: that of the job)", json)
    .action(rerunJob);
}
