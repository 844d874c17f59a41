/**
 * `capstan job validate`: everything that is wrong with a job file, with the line where it stands, and which steps nothing could be
 * found for at present. Nothing is submitted, and nothing is held.
 */
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
  /** The platform accepts it all the same: it may be cured by then. */
  readonly isNote: boolean;
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

/** Of so many jobs of a file it is asked where they could be placed. */
const maxPlaced = 20;

/** What no provider could take at present, of each that is otherwise good. */
async function notesOf({ queues }: Capstan, spec: JobSpec): Promise<readonly FieldProblem[]> {
  const { attempts } = await queues.explainJob({ jobId: "", spec });
  return attempts
    .filter(({ reason }) => reason === "REASON_NO_PROVIDER_MATCHES")
    .map(({ step, message }) => ({
      field: `steps[${spec.steps.findIndex(({ name }) => (name || "main") === step)}]`,
      description: `could be placed nowhere now: ${message}`,
    }));
}

/** A field as it stands in the file, which holds nothing but specs. */
function withoutRequest({ field, description }: FieldProblem): FieldProblem {
  return { field: field.replace(/^requests\[\d+\]\./, "").replace(/^spec(\.|$)/, ""), description };
}

async function validate({ file, ...options }: CommonOptions & { readonly file: string }): Promise<void> {
  const content = await readJobFile(file);
  const name = nameOfJobFile(file);
  const specs = parseJobFile(content, name);
  const { answers, notes } = await withCapstan(options, async (capstan) => {
    const answers = await problemsOf(capstan, specs);
    const good = specs.map((spec, job) => (answers[job]?.length === 0 && job < maxPlaced ? spec : null));
    const notes = await Promise.all(good.map((spec) => (spec === null ? [] : notesOf(capstan, spec))));
    return { answers, notes };
  });
  const lines = jobFileLines(content);
  const found = (of: readonly (readonly FieldProblem[])[], isNote: boolean) =>
    of.flatMap((fields, job) =>
      fields.map(
        ({ field, description }): Problem => ({
          job: job + 1,
          field,
          line: lines[job]?.(field) ?? 1,
          description,
          isNote,
        }),
      ),
    );
  const problems = [...found(answers, false), ...found(notes, true)].toSorted((left, right) => left.line - right.line);
  const told = problems.map(({ field, line, description, isNote }) =>
    visibleText(`${name}:${line}: ${isNote ? "note: " : ""}${field === "" ? "the job" : field} ${description}`),
  );
  const isGood = problems.every(({ isNote }) => isNote);
  const count = specs.length === 1 ? "the job" : `all ${specs.length} jobs`;
  if (options.output !== "table") await print(options.output, problems, () => "");
  else if (isGood)
    await print(options.output, null, () =>
      [`${visibleText(name)}: ${count} can be submitted`, ...told, ""].join("\n"),
    );
  if (!isGood) throw new ExitError(exitCodes.refused, options.output === "table" ? told : []);
}

/** Adds `validate` to `capstan job`. */
export function addValidateCommand(job: Command): void {
  withCommon(job.command("validate"))
    .description(
      "Check the job, or the jobs, of a file against the platform, and tell every problem with its line, and which steps could be placed nowhere now.",
    )
    .requiredOption("-f, --file <path>", "the file; - reads standard input")
    .action(validate);
}
