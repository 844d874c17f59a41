/** Workflows for tests of what a spec may say. */
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkSpec } from "./jobSpec.ts";

export const now = new Date("2026-01-01T00:00:00Z");

export type Fields = Readonly<Record<string, unknown>>;

/** Steps that run `true`, with the fields of each by its name. */
export function aWorkflow(steps: Readonly<Record<string, Fields>>, fields: Fields = {}): JobSpec {
  const list = Object.entries(steps).map(([name, step]) => ({
    name,
    ...(isProgram(step) ? {} : { command: ["true"] }),
    ...step,
  }));
  return JobSpec.fromJSON({ name: "w", steps: list, ...fields });
}

function isProgram(step: Fields): boolean {
  return ["script", "image", "handler", "subJob", "approval", "signal", "sleep", "command"].some(
    (kind) => kind in step,
  );
}

export function problemsOf(spec: JobSpec): readonly string[] {
  return checkSpec(spec, "spec", now).map(({ field, description }) => `${field} ${description}`);
}
