/** What a BLOCKED step still waits for, in words. Worked out when somebody reads: written down it would change with each step that ends. */
import type { JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";

const named = 5;

/** Empty for a step that waits for nothing that the spec tells. */
export function waitsFor(spec: JobSpec, step: StepSpec, isOpen: (name: string) => boolean): string {
  const missing = [...new Set(step.dependsOn)].filter(isOpen);
  if (missing.length > 0) return `waits for ${listOf(missing)}`;
  const undone = spec.steps.find(({ compensate }) => compensate === step.name);
  if (undone !== undefined) return `runs only if ${undone.name} has to be undone`;
  const ends = [
    ...(spec.onSuccess.includes(step.name) ? ["succeeded"] : []),
    ...(spec.onFailure.includes(step.name) ? ["failed"] : []),
    ...(spec.onCancel.includes(step.name) ? ["been cancelled"] : []),
  ];
  return ends.length > 0 ? `runs only when the job has ${ends.join(" or ")}` : "";
}

function listOf(names: readonly string[]): string {
  const more = names.length - named;
  return more > 0 ? `${names.slice(0, named).join(", ")} and ${more} more` : names.join(", ");
}
