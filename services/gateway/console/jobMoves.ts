/** Jobs as they move: what a fact changes of a job and of its row in a list. Pure. */
import type { Fact, Job, Step } from "./json.ts";
import type { LiveEvent } from "./liveEvent.ts";

export interface JobRow {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  readonly message: string;
  readonly queue: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createTime: string | undefined;
  readonly startTime: string | undefined;
  readonly endTime: string | undefined;
  readonly steps: number;
  readonly endedSteps: number;
  readonly isPaused: boolean;
}

const endedSteps = /_(SUCCEEDED|FAILED|CANCELLED|TIMED_OUT|SKIPPED)$/;
const endedJob = /^JOB_STATE_(SUCCEEDED|FAILED|CANCELLED|TIMED_OUT)$/;
/** Whether a job can still change. */
export function hasEnded(state: string): boolean {
  return endedJob.test(state);
}

export function toRow(job: Job): JobRow {
  const steps = job.steps ?? [];
  return {
    id: job.id ?? "",
    name: job.spec?.name ?? "",
    state: job.state ?? "",
    reason: job.reason ?? "",
    message: job.message ?? "",
    queue: job.spec?.queue || "default",
    labels: job.spec?.labels ?? {},
    createTime: job.createTime,
    startTime: job.startTime,
    endTime: job.endTime,
    steps: steps.length,
    endedSteps: steps.filter(({ state }) => endedSteps.test(state ?? "")).length,
    isPaused: job.pauseTime !== undefined,
  };
}

/** A row after a fact of its job. Facts of steps bring the job's state too. */
export function withFact(row: JobRow, { type, time, data }: LiveEvent): JobRow {
  const state = typeof data?.["state"] === "string" ? data["state"] : row.state;
  if (hasEnded(row.state)) return row;
  const isEnd = hasEnded(state);
  return {
    ...row,
    state,
    reason: type.includes(".job.") ? String(data?.["reason"] ?? "") : row.reason,
    message: type.includes(".job.") ? String(data?.["message"] ?? "") : row.message,
    startTime: row.startTime ?? (state === "JOB_STATE_RUNNING" ? time : undefined),
    endTime: isEnd ? time : undefined,
    endedSteps: isEnd ? row.steps : row.endedSteps,
    isPaused: type.endsWith("job.paused") || (row.isPaused && !type.endsWith("job.resumed") && !isEnd),
  };
}

/** New rows before old ones: what was read anew takes the place of what was there up to its last row. */
export function mergeTop(fresh: readonly JobRow[], old: readonly JobRow[]): readonly JobRow[] | null {
  const last = fresh.at(-1);
  const at = last === undefined ? -1 : old.findIndex(({ id }) => id === last.id);
  return at < 0 ? null : [...fresh, ...old.slice(at + 1)];
}

interface StepChange {
  readonly name?: string;
}

/** The job after a fact: its own state, and the steps that moved. */
export function applyFact(job: Job, fact: Fact): Job {
  if ((fact.sequence ?? 0) <= (job.sequence ?? 0)) return job;
  const data = (fact.data ?? {}) as {
    state?: Job["state"];
    reason?: Job["reason"];
    message?: string;
    steps?: StepChange[];
  };
  const changes = new Map((data.steps ?? []).map((change) => [change.name, change]));
  const isJobs = fact.type?.includes(".job.v1.job.") === true;
  return {
    ...job,
    sequence: fact.sequence ?? 0,
    ...(data.state === undefined ? {} : { state: data.state }),
    ...(isJobs
      ? { reason: data.reason ?? "REASON_UNSPECIFIED", message: data.message ?? "", stateTime: fact.time }
      : {}),
    steps: (job.steps ?? []).map((step) => {
      const change = changes.get(step.name);
      return change === undefined ? step : movedStep(step, change as Partial<Step>, fact.time);
    }),
  } as Job;
}

function movedStep(step: Step, change: Partial<Step>, time: string | undefined): Step {
  const isSame = change.state === step.state && change.attempt === step.attempt;
  return {
    ...step,
    reason: "REASON_UNSPECIFIED",
    message: "",
    ...change,
    ...(isSame || time === undefined ? {} : { stateTime: time }),
  };
}
