/**
 * What moves a job that has a plan: its beginning, reports of its steps, a cancel, and the clock. Each is one pass: what happened is
 * applied, then everything that follows from it. Nothing here reads a clock, makes an id or does I/O.
 */
import { repeatStep } from "./beginStep.ts";
import { itemScope, settleItems } from "./forEach.ts";
import { isJobTerminal, isStepTerminal, isToBeCancelled, type Job, type Step } from "./job.ts";
import { type Cause, type Flow, openPass, type Pass, type Passed } from "./pass.ts";
import { bareToldOf } from "./plan.ts";
import { promote, settle } from "./promote.ts";
import { answerOf, type Report, type StepAnswer } from "./report.ts";
import { timeOut } from "./waits.ts";

/** Begins what waits for nothing. Called once, when the job has been written or its start time has come. */
export function begin(job: Job, flow: Flow, now: Date): Passed | null {
  const pass = openPass(job, flow, now);
  for (const { name } of flow.plan.main) promote(pass, pass.step(name));
  settle(pass);
  return pass.close();
}

/** A report with the id of the command or fact that led to it. */
export interface CausedReport {
  readonly said: Report;
  readonly causationId: string;
}

/** Applies reports in their order; the answers are in it too. `random` in [0, 1) spreads the backoffs. */
export function reportAll(
  job: Job,
  reports: readonly CausedReport[],
  flow: Flow,
  now: Date,
  random: () => number,
): { readonly answers: readonly StepAnswer["outcome"][]; readonly passed: Passed | null } {
  const pass = openPass(job, flow, now);
  const answers = reports.map(({ said, causationId }) => {
    pass.causationId = causationId;
    const answer = answerTo(pass, said, random());
    if (answer.outcome === "APPLIED") {
      if ("move" in answer) pass.take(answer.move);
      else pass.put(answer.waiting);
    }
    return answer.outcome;
  });
  if (!isJobTerminal(job.state)) settle(pass);
  return { answers, passed: pass.close() };
}

function answerTo(pass: Pass, said: Report, random: number): StepAnswer {
  const step = pass.find(said.step);
  // What is not executed itself has no attempts that anybody could report of.
  if (step !== undefined && !isExecuted(pass, step)) return { outcome: "STALE" };
  const mayRepeat = !pass.isCancelling() || (step !== undefined && pass.plannedOf(step).role !== "main");
  return answerOf(step, said, { now: pass.now, random, mayRepeat });
}

function isExecuted(pass: Pass, step: Step): boolean {
  const { kind, spec } = pass.plannedOf(step);
  return kind === "execution" && (spec.forEach === undefined || step.parent !== null);
}

/**
 * Asks a job to end. Main steps that do not run end at once, the others when the orchestrator confirms it; then comes what undoes them.
 * Null if it was asked before or its outcome is decided; refuses a job that has ended otherwise than by a cancel.
 */
export function cancelWorkflow(job: Job, cause: Cause, flow: Flow, now: Date, causationId: string): Passed | null {
  if (!isToBeCancelled(job) || job.ending !== null) return null;
  const pass = openPass(job, flow, now);
  pass.causationId = causationId;
  pass.cancelled = cause;
  pass.cause = cause;
  const main = job.steps.filter((step) => pass.plannedOf(step).role === "main");
  for (const step of main) {
    if (isIdle(step)) pass.move(step, "cancelled", cause);
  }
  // Named with a little of what to run, because this fact may overtake the one that told so first: there must be something to cancel.
  const ready = main.filter(({ state }) => state === "READY");
  pass.tellCancelling(ready.map((step) => [step, { ...bareToldOf(pass.plannedOf(step)) }]));
  settle(pass);
  return pass.close();
}

function isIdle({ state }: Step): boolean {
  return state === "BLOCKED" || state === "BACKOFF" || state === "SUSPENDED";
}

/** Does what was waiting for its time. Null if nothing is due. */
export function wakeWorkflow(job: Job, flow: Flow, now: Date): Passed | null {
  if (isJobTerminal(job.state) || job.pauseTime !== null) return null;
  const pass = openPass(job, flow, now);
  wakeSteps(pass);
  settle(pass);
  return pass.close();
}

/** Begins, repeats or ends what was waiting for its time. */
function wakeSteps(pass: Pass): void {
  const { before: job, now } = pass;
  for (const step of job.steps) {
    if (step.dueTime === null || step.dueTime > now || isStepTerminal(step.state)) continue;
    const planned = pass.plannedOf(step);
    if (step.state === "BLOCKED") {
      const free = { ...step, dueTime: null, reason: "UNSPECIFIED" };
      pass.put(free);
      promote(pass, free);
    } else if (step.state === "RUNNING") {
      // Its items were too many to begin at once.
      pass.put({ ...step, dueTime: null });
      settleItems(pass, planned);
    } else if (step.state === "BACKOFF" && !pass.isSpent()) {
      const { itemIndex } = step;
      repeatStep(pass, planned, step, () => (itemIndex === null ? pass.scope() : itemScope(pass, planned, itemIndex)));
    } else if (step.state === "SUSPENDED") {
      timeOut(pass, planned, step);
    }
  }
}
