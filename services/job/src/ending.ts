/**
 * The end of a workflow: when every main step has ended the outcome is decided; what was done is undone if it was not a success, one
 * compensation after the other; then the hooks of that outcome run, all at once; then the job ends with it.
 */
import { type Ending, isStepTerminal, type JobEventType, type Step, type StepState } from "./job.ts";
import type { Cause, Pass } from "./pass.ts";

/** The result of a job with several leaves, or of one with `for_each`, as JSON. */
export const maxJobResultBytes = 1024 * 1024;
const maxMessageLength = 1_024;

/** Brings the job as far to its end as can be now; `reach` begins a compensation or a hook. */
export function advanceEnding(pass: Pass, reach: (step: Step) => void): void {
  if (pass.ending === null) {
    if (pass.flow.plan.main.some(({ name }) => !isStepTerminal(pass.step(name).state))) return;
    pass.ending = endingOf(pass);
    skipUnneeded(pass);
  }
  for (const [undone, step] of compensationsOf(pass)) {
    if (isBlocked(step)) reach(step);
    if (isStepTerminal(pass.step(step.name).state)) continue;
    return waitIn(pass, { reason: "COMPENSATING", message: `${step.name} undoes ${undone.name}` });
  }
  const hooks = hooksOf(pass);
  for (const hook of hooks) if (isBlocked(hook)) reach(hook);
  const running = hooks.filter(({ name }) => !isStepTerminal(pass.step(name).state));
  if (running.length > 0) waitIn(pass, { reason: "RUNNING_HOOKS", message: "" });
  else end(pass);
}

/** A job that is paused says so, whatever it comes to meanwhile. */
function waitIn(pass: Pass, cause: Cause): void {
  if (!pass.isPaused()) pass.cause = cause;
}

/** A step that waits for `not_before` is BLOCKED as well, but no hook or compensation ever does. */
function isBlocked({ state }: Step): boolean {
  return state === "BLOCKED";
}

function endingOf(pass: Pass): Ending {
  if (pass.isCancelling()) {
    const cause = pass.cancelled ?? pass.cause;
    return { outcome: cause.reason === "JOB_TIMEOUT" ? "TIMED_OUT" : "CANCELLED", ...cause };
  }
  const main = pass.flow.plan.main;
  const bad = main.filter(({ spec }) => !spec.continueOnFailure).map(({ name }) => pass.step(name));
  for (const outcome of ["FAILED", "TIMED_OUT", "CANCELLED"] as const) {
    const step = bad.find(({ state }) => state === outcome);
    if (step === undefined) continue;
    const message = main.length === 1 ? step.message : `step ${step.name}: ${wordsOf(step)}`;
    return { outcome, reason: step.reason, message };
  }
  return { outcome: "SUCCEEDED", reason: "UNSPECIFIED", message: "" };
}

function wordsOf({ message, reason, state }: Step): string {
  if (message !== "") return message;
  return (reason === "UNSPECIFIED" ? state : reason).toLowerCase().replaceAll("_", " ");
}

/** Steps that are to be undone with what undoes them; what ended last comes first. */
function compensationsOf(pass: Pass): readonly (readonly [undone: Step, by: Step])[] {
  if (pass.ending === null || pass.ending.outcome === "SUCCEEDED") return [];
  return pass.flow.plan.main
    .filter(({ name, spec }) => spec.compensate !== "" && pass.step(name).state === "SUCCEEDED")
    .map((planned) => ({ planned, step: pass.step(planned.name) }))
    .sort(
      (a, b) => (b.step.endTime?.getTime() ?? 0) - (a.step.endTime?.getTime() ?? 0) || b.planned.rank - a.planned.rank,
    )
    .map(({ planned, step }) => [step, pass.step(planned.spec.compensate)]);
}

function hooksOf({ ending, flow, step }: Pass): readonly Step[] {
  const { onSuccess, onFailure, onCancel } = flow.plan.spec;
  if (ending === null) return [];
  const names = { SUCCEEDED: onSuccess, CANCELLED: onCancel, FAILED: onFailure, TIMED_OUT: onFailure }[ending.outcome];
  return names.map(step);
}

function skipUnneeded(pass: Pass): void {
  const needed = new Set([
    ...compensationsOf(pass).map(([, { name }]) => name),
    ...hooksOf(pass).map(({ name }) => name),
  ]);
  for (const name of pass.flow.plan.late) {
    if (!needed.has(name)) pass.move(pass.step(name), "skipped", { reason: "NOT_NEEDED" });
  }
}

function end(pass: Pass): void {
  const { ending } = pass;
  if (ending === null) return;
  if (ending.outcome === "SUCCEEDED") {
    const failed = hooksOf(pass).find((hook) => isBad(pass, hook));
    if (failed !== undefined) return endAs(pass, "failed", failed.reason, `hook ${failed.name}: ${wordsOf(failed)}`);
    return endAs(pass, "succeeded", ending.reason, succeed(pass));
  }
  const event: JobEventType = ({ FAILED: "failed", CANCELLED: "cancelled", TIMED_OUT: "timed_out" } as const)[
    ending.outcome
  ];
  endAs(pass, event, ending.reason, [ending.message, ...notesOf(pass)].filter((note) => note !== "").join("; "));
}

function endAs(pass: Pass, event: JobEventType, reason: string, message: string): void {
  pass.end = event;
  pass.cause = { reason, message: message.slice(0, maxMessageLength) };
}

const badStates: readonly StepState[] = ["FAILED", "TIMED_OUT", "CANCELLED"];

function isBad(pass: Pass, step: Step): boolean {
  return badStates.includes(step.state) && !pass.plannedOf(step).spec.continueOnFailure;
}

/** What went wrong while the job was ending, which its outcome does not show. */
function notesOf(pass: Pass): readonly string[] {
  const undoing = compensationsOf(pass).filter(([, by]) => isBad(pass, by));
  const hooks = hooksOf(pass).filter((hook) => isBad(pass, hook));
  return [
    ...undoing.map(([undone, by]) => `${undone.name} was not undone, ${by.name}: ${wordsOf(by)}`),
    ...hooks.map((hook) => `hook ${hook.name}: ${wordsOf(hook)}`),
  ];
}

/** Keeps what the job gives back, if that is not too much; the answer says so. */
function succeed(pass: Pass): string {
  const { results, plan } = pass.flow;
  const leaves = plan.leaves.map(pass.step);
  const list = results.list(".job", leaves, maxJobResultBytes);
  const entries = plan.leaves.flatMap((name, at) => (list?.[at] === undefined ? [] : [[name, list[at]] as const]));
  const result = leaves.length === 1 ? entries[0]?.[1] : entries.length > 0 ? Object.fromEntries(entries) : undefined;
  const isTooLong =
    list === null || (result !== undefined && Buffer.byteLength(JSON.stringify(result)) > maxJobResultBytes);
  if (!isTooLong) pass.result = result;
  return isTooLong
    ? `its result is longer than ${maxJobResultBytes} bytes as JSON and was left out; its steps have theirs`
    : "";
}
