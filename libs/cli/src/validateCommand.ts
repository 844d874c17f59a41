/** `capstan job validate`: everything that is wrong with a job file, with the line where it stands. Nothing is submitted. */
import type { Capstan } from "@capstan/client";
import type { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Command } from "commander";
import { ExitError, exitCodes } from "./failure.ts";
import { nameOfJobFile, parseJobFile, readJobFile } from "./jobFile.ts";
import { jobFileLines } from "./jobFileLines.ts";
import { type CommonOptions, withCommon } from "./options.ts";
import { print } from "./output.ts";
import { present, withCapstan } from "./session.ts";
import { batchesOf } from "./submitCommand.ts";
import { visibleText } from "./visibleText.ts";

interface Problem {
  /** Which job of the file, from 1. */
  readonly job: number;
  readonly field: string;
  readonly line: number;
  readonly description: string;
}

interface FieldProblem {
  readonly field: string;
  readonly description: string;
}

/** What the platform says of each, in their order; empty if it would accept it. */
async function problemsOf(capstan: Capstan, specs: readonly JobSpec[]): Promise<readonly (readonly FieldProblem[])[]> {
  const requests = specs.map(
    (spec): SubmitJobRequest => ({ spec, idempotencyKey: "", requestId: "", validateOnly: true, template: undefined }),
  );
  const problems: (readonly FieldProblem[])[] = [];
  for (const batch of batchesOf(requests)) {
    const { results } = await capstan.jobs.submitJobs({ requests: batch });
    for (const { outcome } of results) {
      const { $case, value } = present(outcome);
      if ($case === "accepted") problems.push([]);
      else if (value.fields.length > 0) problems.push(value.fields.map(withoutRequest));
      else problems.push([{ field: "", description: value.message }]);
    }
  }
  return problems;
}

/** A field as it stands in the file, which holds nothing but specs. */
function withoutRequest({ field, description }: FieldProblem): FieldProblem {
  return { field: field.replace(/^requests\[\d+\]\./, "").replace(/^spec(\.|$)/, ""), description };
}

async function validate({ file, ...options }: CommonOptions & { readonly file: string }): Promise<void> {
  const content = await readJobFile(file);
  const name = nameOfJobFile(file);
  const specs = parseJobFile(content, name);
  const answers = await withCapstan(options, (capstan) => problemsOf(capstan, specs));
  const lines = jobFileLines(content);
  const problems = answers
    .flatMap((fields, job) =>
      fields.map(
        ({ field, description }): Problem => ({ job: job + 1, field, line: lines[job]?.(field) ?? 1, description }),
      ),
    )
    .toSorted((left, right) => left.line - right.line);
  const count = specs.length === 1 ? "the job" : `all ${specs.length} jobs`;
  if (options.output !== "table") await print(options.output, problems, () => "");
  else if (problems.length === 0)
    await print(options.output, null, () => `${visibleText(name)}: ${count} can be submitted\n`);
  if (problems.length === 0) return;
  const told = problems.map(
    ({ field, line, description }) => `${name}:${line}: ${field === "" ? "the job" : field} ${description}`,
  );
  throw new ExitError(exitCodes.refused, options.output === "table" ? told.map(visibleText) : []);
}

/** Adds `validate` to `capstan job`. */
export function addValidateCommand(job: Command): void {
  withCommon(job.command("validate"))
    .description("Check the job, or the jobs, of a file against the platform, and tell every problem with its line.")
    .requiredOption("-f, --file <path>", "the file; - reads standard input")
    .action(validate);
}
