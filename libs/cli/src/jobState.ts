/** Questions about jobs and steps that many commands ask. Pure. */
import type { Job, JobState, Step, StepState } from "@capstan/proto/capstan/job/v1/job.ts";
import { UsageError } from "./failure.ts";

const finalJobStates: readonly JobState[] = [
  "JOB_STATE_SUCCEEDED",
  "JOB_STATE_FAILED",
  "JOB_STATE_CANCELLED",
  "JOB_STATE_TIMED_OUT",
];

export function isFinal(state: JobState): boolean {
  return finalJobStates.includes(state);
}

const placingStepStates: readonly StepState[] = ["STEP_STATE_BLOCKED", "STEP_STATE_READY", "STEP_STATE_BACKOFF"];

/** True while a step waits for its turn, for capacity or for its next attempt. */
export function isWaiting(step: Pick<Step, "state">): boolean {
  return placingStepStates.includes(step.state);
}

/** The step of this name, or the only one when no name is given. Refuses a name that is not there, and a choice of several. */
export function findStep(job: Pick<Job, "id" | "steps">, name: string | undefined): Step {
  const names = job.steps.map((step) => step.name).join(", ");
  if (name === undefined) {
    const [only, ...others] = job.steps;
    if (only !== undefined && others.length === 0) return only;
    throw new UsageError(`job ${job.id} has ${job.steps.length} steps; name one with --step: ${names}`);
  }
  const step = job.steps.find((candidate) => candidate.name === name);
  if (step === undefined) throw new UsageError(`job ${job.id} has no step "${name}"; it has: ${names}`);
  return step;
}
