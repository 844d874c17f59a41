/** A job as it begins: where its steps stand before anything has happened. */
import { uuidv7 } from "@capstan/postgres";
import type { JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Job, ParentStep, Step } from "./job.ts";
import type { NewJob } from "./newJobStore.ts";
import type { Plan } from "./plan.ts";
import { concurrencyKeyOf } from "./renderStep.ts";
import { noRetry } from "./retry.ts";
import { retryPolicyOf } from "./stepPolicy.ts";

/** Who submits a job, and by what. */
export interface SubmitOrigin {
  readonly tenant: string;
  readonly traceparent: string | null;
  readonly retryOf?: string;
  /** The job that it repeats with another input. */
  readonly rerunOf?: string;
  /** The step that submits it, the id that it therefore has, and when it times out at the latest. */
  readonly parent?: ParentStep;
  readonly jobId?: string;
  readonly deadlineTime?: Date | null;
  /** The template that the spec was made from. */
  readonly template?: NewJob["template"];
  readonly schedule?: { readonly id: string; readonly time: Date | null };
  /** What its schedule tells the job, in its input. */
  readonly scheduleInput?: { readonly id: string; readonly name: string; readonly time: string };
  /** What tells the request from others with its key; the hash of its spec if absent. */
  readonly requestHash?: Uint8Array;
}

/** The job of a completed spec; `plan` is null for one that is moved without it. */
export function birthOf(
  spec: JobSpec,
  plan: Plan | null,
  { tenant, traceparent, schedule, parent, jobId }: SubmitOrigin,
  now: Date,
): Job {
  const waitsUntil = spec.notBefore !== undefined && spec.notBefore > now ? spec.notBefore : null;
  return {
    id: jobId ?? uuidv7(),
    tenant,
    name: spec.name,
    priority: spec.priority,
    queue: spec.queue || "default",
    concurrencyKey: concurrencyKeyOf(spec),
    deadlineTime: null,
    isWorkflow: plan !== null,
    ending: null,
    pauseTime: null,
    parent: parent ?? null,
    depth: parent?.depth ?? 0,
    state: "PENDING",
    reason: waitsUntil === null ? "QUEUED" : "NOT_BEFORE",
    message: "",
    sequence: 1,
    traceparent,
    scheduleId: schedule?.id ?? null,
    steps: spec.steps.map((step) => ({
      name: step.name,
      parent: null,
      itemIndex: null,
      ...firstStateOf(step, plan, waitsUntil),
      message: "",
      attempt: 1,
      executionId: null,
      providerName: "",
      childJobId: null,
      exitCode: null,
      result: undefined,
      startTime: null,
      endTime: null,
      retry: retryPolicyOf(step.retry) ?? noRetry,
    })),
    result: undefined,
  };
}

/** The steps of a workflow are written before they begin: one that waits for nothing may end by itself, and so may the job. */
function firstStateOf(
  { name, dependsOn }: StepSpec,
  plan: Plan | null,
  waitsUntil: Date | null,
): Pick<Step, "state" | "reason" | "dueTime"> {
  const isRoot = plan === null || (plan.steps.get(name)?.role === "main" && dependsOn.length === 0);
  if (!isRoot) return { state: "BLOCKED", reason: "WAITING_DEPENDENCY", dueTime: null };
  if (waitsUntil !== null) return { state: "BLOCKED", reason: "NOT_BEFORE", dueTime: waitsUntil };
  return { state: plan === null ? "READY" : "BLOCKED", reason: "QUEUED", dueTime: null };
}
