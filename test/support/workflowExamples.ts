/** The examples of docs/workflows.md: the jobs that the page shows, and what it says that comes of each. */
import { readFileSync } from "node:fs";
import { Job } from "@capstan/proto/capstan/job/v1/job.ts";

const root = new URL("../../", import.meta.url);

export interface WorkflowExample {
  /** The job's name. */
  readonly name: string;
  readonly yaml: string;
  /** What `outcomeOf` says of the job, or what `capstan job validate` says of the file. */
  readonly prints: string;
  /** The file that it is, in examples/; "" if it stands only on the page. */
  readonly file: string;
}

/** In the order of the page. */
export function workflowExamples(): readonly WorkflowExample[] {
  const page = readFileSync(new URL("docs/workflows.md", root), "utf8");
  const shown = page.matchAll(
    /(?:^\[examples\/([\w-]+\.yaml)\]\(\.\.\/examples\/\1\)\n\n)?^```yaml\n(.*?)```\n\n```text\n(.*?)```$/gms,
  );
  return [...shown].map(([, file = "", yaml = "", prints = ""]) => {
    const [, name = ""] = /^name: (.*)$/m.exec(yaml) ?? [];
    return { name, yaml, prints, file };
  });
}

/** A job that has ended, its result, and its steps without the items of `for_each`, as the page writes them. */
export function outcomeOf(job: Job): string {
  const { state, reason, result, steps } = Job.toJSON(job) as {
    readonly state: string;
    readonly reason?: string;
    readonly result?: unknown;
    readonly steps: readonly { name: string; state: string; reason?: string; result?: unknown }[];
  };
  const word = (text = "") => text.replace(/^(JOB_STATE|STEP_STATE|REASON)_/, "");
  const lines = [
    [word(state), word(reason)],
    [result === undefined ? "" : JSON.stringify(result)],
    ...steps
      .filter(({ name }) => !name.includes("."))
      .map((step) => [
        step.name,
        word(step.state),
        word(step.reason),
        // What an approval gives back has a time in it.
        step.result === undefined || step.name === "ask" ? "" : JSON.stringify(step.result),
      ]),
  ];
  return lines
    .map((line) => `${line.filter(Boolean).join(" ")}\n`)
    .filter((line) => line !== "\n")
    .join("");
}
