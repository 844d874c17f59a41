/** How a step begins that nothing holds back any more: rendered, then as its kind says. */
import { ExpressionError, Work } from "@capstan/expressions";
import type { Step } from "./job.ts";
import { maxSpecJsonBytes } from "./jobSpec.ts";
import type { Pass } from "./pass.ts";
import { type PlannedStep, type Told, toldOf } from "./plan.ts";
import { renderStep, type Scope } from "./renderStep.ts";
import { reachedByKind } from "./stepKinds.ts";

/** Begins a step or an item; one whose expressions cannot be evaluated fails. */
export function beginStep(pass: Pass, planned: PlannedStep, step: Step, scope: () => Scope): void {
  failOnExpression(pass, step, () => {
    const told = renderedOf(pass, planned, scope);
    const { now, before: job, flow } = pass;
    // What undoes, and hooks, run after the job has timed out as well.
    const deadlineTime = planned.role === "main" ? job.deadlineTime : null;
    const reached = reachedByKind[planned.kind](told.spec, { now, job, deadlineTime, step, inbox: flow.inbox, scope });
    switch (reached.to) {
      case "ready":
        return void pass.move(step, "ready", { reason: "QUEUED" }, told);
      case "suspended":
        return void pass.move(step, "suspended", { ...waitOf(reached), startTime: pass.now });
      case "started": {
        const { child } = reached;
        pass.submit(child);
        const { attempt } = step;
        const fields = { attempt, reason: "SUB_JOB", childJobId: child.childJobId, startTime: now };
        return void pass.move(step, "started", fields);
      }
      case "succeeded": {
        const suspended = pass.move(step, "suspended", { startTime: pass.now });
        return void pass.move(suspended, "succeeded", { result: reached.result });
      }
      default:
        return void pass.move(step, reached.to, { reason: reached.reason, message: reached.message });
    }
  });
}

/** Begins a step again after its backoff. */
export function repeatStep(pass: Pass, planned: PlannedStep, step: Step, scope: () => Scope): void {
  const fresh = { attempt: step.attempt + 1, executionId: null, providerName: "", startTime: null };
  if (planned.kind !== "execution") return beginStep(pass, planned, { ...step, ...fresh }, scope);
  failOnExpression(pass, step, () => {
    const told = renderedOf(pass, planned, scope);
    pass.move(step, "ready", { ...fresh, reason: "QUEUED" }, told);
  });
}

/** Fails a step over an expression that cannot be evaluated; everything else is thrown on. */
export function failOnExpression(pass: Pass, step: Step, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    pass.move(step, "failed", { reason: "EXPRESSION_FAILED", message: error.message });
  }
}

function waitOf({ reason, message, dueTime }: Pick<Step, "reason" | "message" | "dueTime">) {
  return { reason, message, dueTime };
}

function renderedOf(pass: Pass, planned: PlannedStep, scope: () => Scope): Told {
  const told = planned.hasExpressions
    ? toldOf(counted(pass, (work) => renderStep(planned.spec, scope(), work)))
    : planned.told;
  pass.spend(Math.ceil(told.bytes / bytesPerUnit));
  if (told.bytes <= maxSpecJsonBytes) return told;
  throw new ExpressionError(
    `its expressions made the step ${told.bytes} bytes as JSON; the limit is ${maxSpecJsonBytes}`,
  );
}

/** What is told of steps counts as well: it is kept until all of the pass is written. */
const bytesPerUnit = 4;

/** Evaluates, and has the pass pay for it. */
export function counted<T>(pass: Pass, evaluate: (work: Work) => T): T {
  const work = new Work();
  try {
    return evaluate(work);
  } finally {
    pass.spend(work.spent);
  }
}
