/** `capstan job submit`: one job or many from a file. */
import { randomUUID } from "node:crypto";
import type { Capstan } from "@capstan/client";
import { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import type { SubmitJobRequest, SubmitJobResult, SubmitRefusal } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Command } from "commander";
import { ExitError, exitCodes, UsageError } from "./failure.ts";
import { followJob } from "./followJob.ts";
import { requireSuccess, waitForEnd } from "./jobCommands.ts";
import { nameOfJobFile, parseJobFile, readJobFile } from "./jobFile.ts";
import { formatJob, formatJobs } from "./jobView.ts";
import { type CommonOptions, collectPairs, withCommon } from "./options.ts";
import { note, print, terminalWidth } from "./output.ts";
import { present, withCapstan } from "./session.ts";
import { type Cell, formatTable } from "./table.ts";
import { templateUseOf } from "./templateParameters.ts";

interface SubmitOptions extends CommonOptions {
  readonly file?: string;
  readonly template?: string;
  readonly param?: Readonly<Record<string, string>>;
  readonly idempotencyKey?: string;
  readonly wait?: true;
  readonly follow?: true;
  readonly validateOnly?: boolean;
}

async function submitOne(capstan: Capstan, request: SubmitJobRequest, options: SubmitOptions): Promise<void> {
  const answer = await capstan.jobs.submitJob(request);
  for (const warning of answer.warnings) note(warning);
  if (options.validateOnly) return note("the platform would accept it; nothing was submitted");
  const job = present(answer.job);
  if (answer.existed) note(`job ${job.id} was there already under this key`);
  if (options.follow) {
    note(`job ${job.id}`);
    await followJob(capstan, { jobId: job.id });
  }
  const ended = options.wait || options.follow ? await waitForEnd(capstan, job.id, undefined) : null;
  const latest = ended ?? job;
  if (!options.follow) await print(options.output, Job.toJSON(latest), () => formatJob(latest, new Date()));
  if (ended !== null) requireSuccess([ended], 1);
}

/** One call takes 1,000 jobs and 4 MiB; the rest is left for the envelope. */
const largestBatch = { jobs: 1_000, bytes: 3_500_000 };

/** Splits requests so that each part fits into one call, in order. */
export function batchesOf(requests: readonly SubmitJobRequest[]): readonly SubmitJobRequest[][] {
  const batches: SubmitJobRequest[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const request of requests) {
    const size = request.spec === undefined ? 0 : JobSpec.encode(request.spec).finish().length;
    const last = batches.at(-1);
    if (last === undefined || last.length === largestBatch.jobs || bytes + size > largestBatch.bytes) {
      batches.push([request]);
      bytes = size;
    } else {
      last.push(request);
      bytes += size;
    }
  }
  return batches;
}

interface Submitted {
  readonly name: string;
  readonly jobId: string;
  readonly existed: boolean;
  readonly refusal: SubmitRefusal | null;
}

function resultOf(name: string, { outcome }: SubmitJobResult): Submitted {
  if (outcome?.$case === "accepted") return { name, ...outcome.value, refusal: null };
  return { name, jobId: "", existed: false, refusal: present(outcome).value };
}

function formatSubmitted(results: readonly Submitted[]): string {
  const outcome = ({ refusal, existed }: Submitted): Cell => {
    if (refusal !== null) return { text: "refused", colour: "red" };
    return existed ? "existed" : { text: "accepted", colour: "green" };
  };
  return formatTable(results, [
    { title: "ID", cell: ({ jobId }) => jobId },
    { title: "NAME", cell: ({ name }) => name },
    { title: "OUTCOME", cell: outcome },
    { title: "REASON", cell: ({ refusal }) => (refusal === null ? "" : `${refusal.reason}: ${refusal.message}`) },
  ]);
}

async function submitMany(
  capstan: Capstan,
  requests: readonly SubmitJobRequest[],
  options: SubmitOptions,
): Promise<void> {
  const results: Submitted[] = [];
  for (const batch of batchesOf(requests)) {
    const answer = await capstan.jobs.submitJobs({ requests: batch });
    results.push(...answer.results.map((result, at) => resultOf(batch[at]?.spec?.name ?? "", result)));
  }
  const accepted = results.filter(({ refusal }) => refusal === null);
  if (options.wait && accepted.length === results.length) {
    const ended = await Promise.all(accepted.map(({ jobId }) => waitForEnd(capstan, jobId, undefined)));
    const jobs = ended.filter((job) => job !== null);
    await print(
      options.output,
      jobs.map((job) => Job.toJSON(job)),
      () => formatJobs(jobs, new Date(), terminalWidth()),
    );
    return requireSuccess(jobs, results.length);
  }
  await print(options.output, results, () => formatSubmitted(results));
  if (accepted.length < results.length) throw new ExitError(exitCodes.refused);
}

async function submit(options: SubmitOptions): Promise<void> {
  const { file, template, param } = options;
  if ((file === undefined) === (template === undefined)) throw new UsageError("give either --file or --template");
  if (template !== undefined) return submitTemplate(template, options);
  if (param !== undefined) throw new UsageError("--param is for --template");
  return submitFile(file ?? "-", options);
}

function submitTemplate(named: string, options: SubmitOptions): Promise<void> {
  return withCapstan(options, async (capstan) => {
    const template = await templateUseOf(capstan, named, options.param ?? {});
    await submitOne(capstan, { ...commonOf(options), spec: undefined, template }, options);
  });
}

function commonOf({ idempotencyKey = "", validateOnly = false }: SubmitOptions) {
  return { idempotencyKey, requestId: randomUUID(), validateOnly };
}

async function submitFile(file: string, options: SubmitOptions): Promise<void> {
  const specs = parseJobFile(await readJobFile(file), nameOfJobFile(file));
  const [only, ...others] = specs;
  const isOne = only !== undefined && others.length === 0;
  if (!isOne && options.idempotencyKey !== undefined) throw new UsageError("an idempotency key is for one job only");
  if (!isOne && options.follow) throw new UsageError("--follow is for one job only; use --wait");
  const requests = specs.map((spec) => ({ ...commonOf(options), spec, template: undefined }));
  await withCapstan(options, async (capstan) => {
    const [first] = requests;
    if (isOne && first !== undefined) await submitOne(capstan, first, options);
    else await submitMany(capstan, requests, options);
  });
}

/** Adds `submit` to `capstan job`. */
export function addSubmitCommand(job: Command): void {
  withCommon(job.command("submit"))
    .description(
      "Submit the job, or the jobs, of a YAML or JSON file: the JSON mapping of JobSpec, as in examples/. Or a job from a template.",
    )
    .option("-f, --file <path>", "the file; - reads standard input")
    .option("--template <name>", "a template in place of a file: NAME, or NAME@VERSION (default: the newest published)")
    .option("--param <name=value>", "a parameter of the template; lists as JSON; may be repeated", collectPairs)
    .option("--idempotency-key <key>", "makes the job unique: the same key again answers the same job")
    .option("--wait", "wait for the end; exit code 4 unless it has succeeded")
    .option("--follow", "print its output until it has ended; exit code as with --wait; Ctrl-C leaves the job running")
    .option("--validate-only", "only check it")
    .action(submit);
}
