/**
 * What becomes of the steps of a workflow when others have ended: all of it in one pass, until nothing moves any more. The outcome does
 * not depend on the order in which the others ended.
 *
 *   every dependency SUCCEEDED or SKIPPED, or failed with continue_on_failure ─▶ reached: READY, or as its kind says
 *   one has failed otherwise, or could not be reached                        ─▶ SKIPPED (DEPENDENCY_FAILED)
 *   all of them SKIPPED                                                      ─▶ SKIPPED (DEPENDENCIES_SKIPPED)
 */
import { beginStep, counted, failOnExpression } from "./beginStep.ts";
import { advanceEnding } from "./ending.ts";
import { beginItems, settleItems } from "./forEach.ts";
import { isStepTerminal, type Step } from "./job.ts";
import type { Pass } from "./pass.ts";
import type { PlannedStep } from "./plan.ts";
import { conditionOf } from "./renderStep.ts";

/** Promotes what the steps that have ended in this pass held back, then brings the job to its end if nothing is left. */
export function settle(pass: Pass): void {
  pass.followUp();
  for (;;) {
    promoteAll(pass);
    advanceEnding(pass, (step) => reach(pass, pass.plannedOf(step), step));
    if (pass.end !== null) return;
    if (!pass.hasEnded()) return;
  }
}

function promoteAll(pass: Pass): void {
  for (let ended = pass.takeEnded(); ended.length > 0; ended = pass.takeEnded()) {
    const parents = new Set<string>();
    const dependents = new Set<string>();
    for (const name of ended) {
      const step = pass.step(name);
      if (step.parent !== null) parents.add(step.parent);
      else for (const dependent of pass.plannedOf(step).dependents) dependents.add(dependent);
    }
    for (const name of parents) settleItems(pass, pass.plannedOf(pass.step(name)));
    for (const name of dependents) promote(pass, pass.step(name));
  }
}

/** Begins a step if nothing holds it back, or skips it if it can never be reached. */
export function promote(pass: Pass, step: Step): void {
  if (step.state !== "BLOCKED" || step.dueTime !== null || pass.isPaused()) return;
  const planned = pass.plannedOf(step);
  const hold = holdOf(pass, planned);
  if (hold === "WAITING_DEPENDENCY") return;
  if (hold === null) return reach(pass, planned, step);
  pass.move(step, "skipped", { reason: hold });
}

type Hold = "WAITING_DEPENDENCY" | "DEPENDENCY_FAILED" | "DEPENDENCIES_SKIPPED" | null;

function holdOf(pass: Pass, { spec }: PlannedStep): Hold {
  let isWaiting = false;
  let areSkipped = spec.dependsOn.length > 0;
  for (const name of spec.dependsOn) {
    const dependency = pass.step(name);
    if (isStepTerminal(dependency.state) && !isSatisfied(pass, dependency)) return "DEPENDENCY_FAILED";
    if (!isStepTerminal(dependency.state)) isWaiting = true;
    if (dependency.state !== "SKIPPED") areSkipped = false;
  }
  if (isWaiting) return "WAITING_DEPENDENCY";
  return areSkipped ? "DEPENDENCIES_SKIPPED" : null;
}

function isSatisfied(pass: Pass, step: Step): boolean {
  if (step.state === "SUCCEEDED") return true;
  if (step.state === "SKIPPED") return step.reason !== "DEPENDENCY_FAILED";
  return pass.plannedOf(step).spec.continueOnFailure;
}

/** Nothing holds the step back any more: it is skipped by its condition, or begins with its items or by itself. */
export function reach(pass: Pass, planned: PlannedStep, step: Step): void {
  if (pass.isPaused()) return;
  const { when, forEach } = planned.spec;
  // It is due at once, and so is looked at again by the clock.
  if (pass.isSpent()) return pass.put({ ...step, reason: "QUEUED", dueTime: pass.now });
  failOnExpression(pass, step, () => {
    if (when !== "" && !counted(pass, (work) => conditionOf(when, pass.scope(), work))) {
      pass.move(step, "skipped", { reason: "CONDITION_FALSE" });
    } else if (forEach !== undefined) {
      beginItems(pass, planned, step);
    } else {
      beginStep(pass, planned, step, () => pass.scope());
    }
  });
}
