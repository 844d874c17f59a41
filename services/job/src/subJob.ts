/** Steps that are jobs of their own, made from templates: how they begin, and what the end of the job means for the step. */
import { uuidv5 } from "@capstan/postgres";
import type { StepSpec, TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import { durationMs } from "./fieldChecks.ts";
import type { JobState } from "./job.ts";
import type { Report } from "./report.ts";
import type { Reached, ReachedAt } from "./stepKinds.ts";

/** How many jobs may be above one: a template that uses itself ends there. */
export const maxDepth = 10;

/** A job that a step submits. */
export interface NewChild {
  readonly childJobId: string;
  readonly parentJobId: string;
  readonly step: string;
  readonly attempt: number;
  readonly template: TemplateUse;
  /** When it times out at the latest; null for when it says itself. */
  readonly deadlineTime: Date | null;
}

/** The same each time, so that an attempt has one job however often it is submitted. */
function childJobIdOf(parentJobId: string, step: string, attempt: number): string {
  return uuidv5(`sub-job/${parentJobId}/${step}/${attempt}`);
}

export function reachSubJob(
  { subJob, runTimeout }: StepSpec,
  { now, job, deadlineTime, step: { name, attempt } }: ReachedAt,
): Reached {
  const template = subJob?.template;
  if (template === undefined) throw new Error("a sub-job without a template");
  if (job.depth >= maxDepth) {
    const message = `its job is the ${job.depth}th sub-job in a chain; the limit is ${maxDepth}`;
    return { to: "failed", reason: "SUB_JOB_FAILED", message };
  }
  const ownMs = durationMs(runTimeout);
  const times = [
    ...(ownMs === 0 ? [] : [now.getTime() + ownMs]),
    ...(deadlineTime === null ? [] : [deadlineTime.getTime()]),
  ];
  const child = {
    childJobId: childJobIdOf(job.id, name, attempt),
    parentJobId: job.id,
    step: name,
    attempt,
    template,
    deadlineTime: times.length === 0 ? null : new Date(Math.min(...times)),
  };
  return { to: "started", child };
}

/** How a job ended that a step has submitted. */
export interface ChildEnd {
  readonly childJobId: string;
  readonly step: string;
  readonly attempt: number;
  /** Why it could not be submitted; null if it was. */
  readonly refusal: string | null;
  /** Null if it was cancelled before it was submitted, or refused. */
  readonly ended: {
    readonly state: JobState;
    readonly reason: string;
    readonly message: string;
    readonly result: unknown;
    readonly startTime: Date | null;
  } | null;
}

const maxMessageLength = 1_024;

/** What the end of its job means for a step, in the words in which the end of an execution is reported. */
export function reportOfChild({ childJobId, step, attempt, refusal, ended }: ChildEnd): Report {
  const said = {
    step,
    attempt,
    executionId: null,
    providerName: "",
    exitCode: null,
    result: undefined,
    time: null,
    startTime: null,
  };
  if (refusal !== null) {
    return { ...said, outcome: "FAILED", reason: "SUB_JOB_FAILED", message: cut(refusal) };
  }
  if (ended === null) return { ...said, outcome: "CANCELLED", reason: "PARENT_ENDED", message: "" };
  const { state, reason, message, result } = ended;
  if (state === "SUCCEEDED") return { ...said, outcome: "SUCCEEDED", reason: "UNSPECIFIED", message: "", result };
  if (reason === "PARENT_ENDED")
    return { ...said, outcome: "CANCELLED", reason, message: `job ${childJobId} was cancelled` };
  const why = [reason === "UNSPECIFIED" ? "" : reason, message].filter((text) => text !== "").join(": ");
  const told = `job ${childJobId} is ${state}${why === "" ? "" : `; ${why}`}`;
  return { ...said, outcome: "FAILED", reason: "SUB_JOB_FAILED", message: cut(told) };
}

function cut(message: string): string {
  return message.slice(0, maxMessageLength);
}
