/** One job that was accepted: its facts, its result, and how to end it. What it asks outlives broken connections. */
import type { PromiseClient } from "@capstan/grpc/client";
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { JobEvent } from "@capstan/proto/capstan/job/v1/job_event.ts";
import type { ApprovalDecision, Event, JobServiceClient } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { backoffMs, pause } from "./backoff.ts";
import {
  cancelled,
  isBroken,
  isFinal,
  JobFailed,
  type JobStateWord,
  type ReasonWord,
  reasonWord,
  stateWord,
  tooLate,
} from "./failures.ts";
import { durationOf } from "./submission.ts";
import type { WaitLanes } from "./waitLanes.ts";

/** What handles share: the calls they make and when to stop making them. */
export interface JobCalls {
  readonly rpc: PromiseClient<JobServiceClient>;
  readonly waitLanes: WaitLanes;
  readonly closed: AbortSignal;
}

/** A fact of a job. */
export interface JobFact {
  readonly id: string;
  /** `job.submitted`, `job.started`, `step.backed_off` … */
  readonly type: string;
  /** Number within its job: 1, 2, 3 without a gap. */
  readonly sequence: number;
  readonly time: Date;
  /** The job's state after it. */
  readonly state: JobStateWord;
  readonly reason: ReasonWord;
  readonly message: string;
  /** All of it, as the contract has it. */
  readonly data: JobEvent;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly deadlineMs?: number | undefined;
}

export interface EventsOptions {
  readonly signal?: AbortSignal | undefined;
  /** Facts after this sequence; from the first unless said. */
  readonly after?: number | undefined;
}

/** What is decided about a step. */
export interface StepDecision extends CallOptions {
  /** Who decides. */
  readonly by: string;
  /** Why, for people. */
  readonly note?: string;
  /** What the job needs to know of it; in the step's result. */
  readonly fields?: { readonly [name: string]: unknown };
}

export interface SignalOptions extends CallOptions {
  readonly requestId?: string;
}

/** A class because there may be many thousands of them. */
export class JobHandle<Result = unknown> {
  readonly id: string;
  /** True if a job with the same key was there already. */
  readonly existed: boolean;
  readonly #calls: JobCalls;

  constructor(calls: JobCalls, id: string, existed: boolean) {
    this.#calls = calls;
    this.id = id;
    this.existed = existed;
  }

  /** The job as it is now. */
  async get(options: CallOptions = {}): Promise<Job> {
    return given((await this.#calls.rpc.getJob({ jobId: this.id }, settingsOf(options))).job);
  }

  /** Asks the job to end, and does not wait for it. Refused with FAILED_PRECONDITION if it has ended in another state. */
  async cancel({ message = "", ...options }: CallOptions & { readonly message?: string } = {}): Promise<Job> {
    return given((await this.#calls.rpc.cancelJob({ jobId: this.id, message }, settingsOf(options))).job);
  }

  /** Approves a step that waits for it; `by` says who does. Refused with FAILED_PRECONDITION if somebody has decided otherwise. */
  async approve(step: string, decision: StepDecision): Promise<Job> {
    return this.#decide("APPROVAL_DECISION_APPROVE", step, decision);
  }

  /** Rejects a step that waits for an approval: it fails. */
  async reject(step: string, decision: StepDecision): Promise<Job> {
    return this.#decide("APPROVAL_DECISION_REJECT", step, decision);
  }

  async #decide(decision: ApprovalDecision, step: string, { by, note = "", fields, ...options }: StepDecision) {
    const request = { jobId: this.id, step, decision, note, fields, by };
    return given((await this.#calls.rpc.decideApproval(request, settingsOf(options))).job);
  }

  /**
   * Gives a signal to the job, with a payload that becomes the result of the step that waits for it; true if one took it at once,
   * otherwise it is kept for the next. With a `requestId` the call can be repeated.
   */
  async signal(name: string, payload?: unknown, { requestId = "", ...options }: SignalOptions = {}): Promise<boolean> {
    const request = { jobId: this.id, name, payload: payload ?? null, requestId };
    return (await this.#calls.rpc.sendSignal(request, settingsOf(options))).taken;
  }

  /** Begins nothing more of the job; what runs goes on. */
  async pause({ message = "", ...options }: CallOptions & { readonly message?: string } = {}): Promise<Job> {
    return given((await this.#calls.rpc.pauseJob({ jobId: this.id, message }, settingsOf(options))).job);
  }

  async resume(options: CallOptions = {}): Promise<Job> {
    return given((await this.#calls.rpc.resumeJob({ jobId: this.id }, settingsOf(options))).job);
  }

  /** Its facts, each as it happens; ends after the one that ends the job. Goes on by itself after a broken connection. */
  async *events({ signal, after = 0 }: EventsOptions = {}): AsyncGenerator<JobFact, void, void> {
    const { rpc, closed } = this.#calls;
    let last = after;
    for (let failures = 0; ; ) {
      try {
        for await (const { event } of rpc.watchJob({ jobId: this.id, afterSequence: last }, settingsOf({ signal }))) {
          if (event === undefined || event.sequence <= last) continue;
          failures = 0;
          last = event.sequence;
          const fact = factOf(event);
          yield fact;
          if (isFinal(fact.data.state)) return;
        }
        const job = await this.get({ signal });
        if (isFinal(job.state) && job.sequence <= last) return;
      } catch (error) {
        if (signal?.aborted === true || closed.aborted) throw cancelled();
        if (!isBroken(error)) throw error;
      }
      failures += 1;
      await pause(backoffMs(failures), signal);
    }
  }

  /**
   * What the job gave back, once it has ended; waits as long as it takes unless a deadline is given. Rejects with `JobFailed` when it
   * ended without success, and then says why.
   */
  async result<R = Result>({ signal, deadlineMs = Number.POSITIVE_INFINITY }: CallOptions = {}): Promise<R> {
    const job = await this.#untilEnded(signal, Date.now() + deadlineMs);
    if (job.state !== "JOB_STATE_SUCCEEDED") throw new JobFailed(job);
    return job.result as R;
  }

  async #untilEnded(signal: AbortSignal | undefined, deadline: number): Promise<Job> {
    for (let failures = 0; ; ) {
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw tooLate(`job ${this.id} has not ended in time`);
      try {
        const job = await this.#wait(signal, leftMs);
        failures = 0;
        if (job !== null) return job;
      } catch (error) {
        if (signal?.aborted === true || this.#calls.closed.aborted) throw cancelled();
        const isOurDeadline = isDeadline(error) && Date.now() >= deadline;
        if (isOurDeadline || !(isBroken(error) || isDeadline(error))) throw error;
        failures += 1;
        await pause(Math.min(backoffMs(failures), leftMs), signal);
      }
    }
  }

  /** The job if it ends in this one wait. */
  #wait(signal: AbortSignal | undefined, leftMs: number): Promise<Job | null> {
    return this.#calls.waitLanes(async (ms) => {
      const timeout = durationOf(Math.max(1, Math.floor(Math.min(ms, leftMs))));
      // A server that is frozen answers nothing at all, hence the deadline.
      const deadlineMs = Math.min(ms + 10_000, leftMs);
      const { job, done } = await this.#calls.rpc.waitJob(
        { jobId: this.id, timeout },
        settingsOf({ signal, deadlineMs }),
      );
      return done ? given(job) : null;
    });
  }
}

function isDeadline(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "DEADLINE_EXCEEDED";
}

function factOf(event: Event): JobFact {
  const data = JobEvent.fromJSON(event.data ?? {});
  return {
    id: event.id,
    type: event.type.split(".").slice(3).join("."),
    sequence: event.sequence,
    time: event.time ?? new Date(0),
    state: stateWord(data.state),
    reason: reasonWord(data.reason),
    message: data.message,
    data,
  };
}

function settingsOf({ signal, deadlineMs }: CallOptions) {
  return { ...(signal && { signal }), ...(deadlineMs !== undefined && { deadlineMs }) };
}

function given(job: Job | undefined): Job {
  if (job === undefined) throw new Error("the platform has answered without the job");
  return job;
}
