/** A job that runs again from where an earlier one has failed: which of its steps need not. */
import type { StepState } from "./job.ts";
import type { Plan } from "./plan.ts";

/** A step as it ended in the earlier job. */
interface EndedStep {
  readonly name: string;
  readonly state: StepState;
  readonly reason: string;
}

/**
 * The steps that keep what they came to: those that have succeeded, or were skipped by what others came to, if all that they depend on is
 * kept too and nobody has undone them.
 */
export function keptSteps(plan: Plan, ended: readonly EndedStep[]): readonly string[] {
  const byName = new Map(ended.map((step) => [step.name, step]));
  const kept = new Set<string>();
  for (const { name, spec } of plan.main.toSorted((a, b) => a.rank - b.rank)) {
    const step = byName.get(name);
    if (step === undefined || !isGood(step) || isUndone(byName.get(spec.compensate))) continue;
    if (spec.dependsOn.every((dependency) => kept.has(dependency))) kept.add(name);
  }
  return [...kept];
}

const skippedByOthers: readonly string[] = ["CONDITION_FALSE", "DEPENDENCIES_SKIPPED"];

function isGood({ state, reason }: EndedStep): boolean {
  return state === "SUCCEEDED" || (state === "SKIPPED" && skippedByOthers.includes(reason));
}

/** A compensation that failed may have undone half of it. */
function isUndone(compensation: EndedStep | undefined): boolean {
  return compensation !== undefined && compensation.state !== "SKIPPED" && compensation.state !== "BLOCKED";
}
