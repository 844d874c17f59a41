/**
 * A paused job: nothing of it begins, what runs goes on, and what comes due waits. It ends, times out and is cancelled like any other, and
 * is paused no longer then.
 */
import { DomainError } from "@capstan/errors";
import { settleItems } from "./forEach.ts";
import { isJobTerminal, type Job, type Step } from "./job.ts";
import { type Flow, openPass, type Pass, type Passed } from "./pass.ts";
import { promote, settle } from "./promote.ts";

/** Null if it is paused already; refuses a job that has ended or is being cancelled. */
export function pauseJob(job: Job, message: string, now: Date, causationId: string): Passed | null {
  assertMayPause(job, "paused");
  if (job.pauseTime !== null) return null;
  const steps = job.steps.map((step) => waitingFor(step, "JOB_PAUSED"));
  const sequence = job.sequence + 1;
  const after: Job = { ...job, steps, pauseTime: now, reason: "JOB_PAUSED", message, sequence };
  return { changes: [{ change: { job: after, noun: "job", event: "paused", moved: [] }, causationId }], after };
}

/** Lets a job go on: all that was held back begins. Null if it is not paused; refuses a job that has ended or is being cancelled. */
export function resumeJob(job: Job, flow: Flow | null, now: Date, causationId: string): Passed | null {
  assertMayPause(job, "resumed");
  if (job.pauseTime === null) return null;
  const steps = job.steps.map((step) => waitingFor(step, "QUEUED"));
  const sequence = job.sequence + 1;
  const resumed: Job = { ...job, steps, pauseTime: null, reason: reasonOf(job), message: "", sequence };
  const pass = flow === null ? null : goOn(resumed, flow, now, causationId);
  const followed = pass?.close() ?? null;
  // Nothing has begun with it: what the job was doing before, as undoing a step, it does still.
  const told = followed === null && pass !== null ? { ...resumed, ...pass.cause } : resumed;
  const change = { job: told, noun: "job", event: "resumed", moved: [] } as const;
  return {
    ...followed,
    changes: [{ change, causationId }, ...(followed?.changes ?? [])],
    after: followed?.after ?? told,
  };
}

function goOn(job: Job, flow: Flow, now: Date, causationId: string): Pass {
  const pass = openPass(job, flow, now);
  pass.causationId = causationId;
  for (const { name } of flow.plan.main) promote(pass, pass.step(name));
  for (const planned of flow.plan.steps.values()) if (planned.spec.forEach !== undefined) settleItems(pass, planned);
  settle(pass);
  return pass;
}

/** What waits to be placed is placed only when the job goes on. */
function waitingFor(step: Step, reason: string): Step {
  return step.state === "READY" ? { ...step, reason, message: "" } : step;
}

function reasonOf({ state, steps }: Job): string {
  if (state !== "PENDING") return "UNSPECIFIED";
  return steps.some(({ reason }) => reason === "NOT_BEFORE") ? "NOT_BEFORE" : "QUEUED";
}

function assertMayPause({ id, state }: Job, verb: "paused" | "resumed"): void {
  if (state !== "CANCELLING" && !isJobTerminal(state)) return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: state === "CANCELLING" ? "JOB_IS_CANCELLING" : "JOB_HAS_ENDED",
    message: `job ${id} is ${state}; it cannot be ${verb}`,
    metadata: { jobId: id, state },
  });
}
