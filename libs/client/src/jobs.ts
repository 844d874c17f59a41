/** Jobs as a user of the SDK speaks of them: one, many, a stream of them. The calls of the contract stand beside. */
import { DomainError } from "@capstan/errors";
import type { PromiseClient } from "@capstan/grpc/client";
import type { JobServiceClient } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { cancelled } from "./failures.ts";
import type { HandlerName, Handlers, ResultOf } from "./handlers.ts";
import { type CallOptions, type JobCalls, JobHandle } from "./jobHandle.ts";
import { type CommandJob, type HandlerJob, type SpecJob, submissionOf, type TemplateJob } from "./submission.ts";
import { openSubmitQueue } from "./submitQueue.ts";
import { openWaitLanes } from "./waitLanes.ts";

/** What became of one of many. */
export type Submitted<Result = unknown> =
  | { readonly job: JobHandle<Result>; readonly refusal: null }
  | { readonly job: null; readonly refusal: DomainError };

/** Any job that `submit` takes. */
export type JobToSubmit<H extends Handlers = Handlers> = HandlerJob<H> | CommandJob | SpecJob | TemplateJob;

interface JobMethods<H extends Handlers> {
  /**
   * Resolves once the job is kept. Calls that wait go to the platform together, and are repeated over a broken connection without a
   * second job. Rejects with a `DomainError`: what was refused and why, or UNAVAILABLE when nobody answered before the deadline.
   */
  submit<K extends HandlerName<H>>(job: HandlerJob<H, K>, options?: CallOptions): Promise<JobHandle<ResultOf<H, K>>>;
  submit(job: CommandJob | SpecJob | TemplateJob, options?: CallOptions): Promise<JobHandle>;
  /** All of them, in their order. A job that is refused does not spoil the others. */
  submitMany(jobs: ManyJobs<H>, options?: CallOptions): Promise<Submitted[]>;
  /** The same for more than one wants to hold: takes jobs as there is room, and yields what became of each, in their order. */
  submitStream(jobs: ManyJobs<H>, options?: CallOptions): AsyncGenerator<Submitted, void, void>;
  /** The handle of a job that was submitted before, perhaps elsewhere. Asks nothing of the platform. */
  handle<K extends HandlerName<H> = HandlerName<H>>(jobId: string): JobHandle<ResultOf<H, K>>;
}

type ManyJobs<H extends Handlers> = Iterable<JobToSubmit<H>> | AsyncIterable<JobToSubmit<H>>;

/** The calls of the contract (`getJob`, `listJobs` …), and what is more than a call. */
export type JobsClient<H extends Handlers = Handlers> = PromiseClient<JobServiceClient> & JobMethods<H>;

/** Jobs that a stream has handed in and that are not answered: two full calls. */
const maxAhead = 2_000;

interface JobsOptions {
  readonly deadlineMs: number;
  readonly closed: AbortSignal;
}

export function openJobs<H extends Handlers>(
  rpc: PromiseClient<JobServiceClient>,
  { deadlineMs: defaultMs, closed }: JobsOptions,
): JobsClient<H> {
  const enqueue = openSubmitQueue(rpc.submitJobs, closed);
  const calls: JobCalls = { rpc, waitLanes: openWaitLanes(), closed };
  // A request id is unique among all of the tenant; counted up, because indexes like neighbours.
  const prefix = crypto.randomUUID();
  let count = 0;
  const nextRequestId = () => `${prefix}-${(count++).toString(36)}`;

  async function submit(job: JobToSubmit, { deadlineMs = defaultMs, signal }: CallOptions = {}): Promise<JobHandle> {
    const submission = submissionOf(job, nextRequestId);
    const { jobId, existed } = await enqueue(submission, { deadlineMs, signal });
    return new JobHandle(calls, jobId, existed);
  }

  function settle(job: JobToSubmit, options: CallOptions): Promise<Submitted> {
    return submit(job, options).then(
      (accepted) => ({ job: accepted, refusal: null }),
      (error: unknown) => {
        if (!(error instanceof DomainError)) throw error;
        return { job: null, refusal: error };
      },
    );
  }

  async function* submitStream(jobs: ManyJobs<H>, options: CallOptions = {}): AsyncGenerator<Submitted, void, void> {
    const source = each(jobs);
    const pull = () => handled(source.next());
    const ahead: Promise<Submitted>[] = [];
    let next: ReturnType<typeof pull> | null = pull();
    try {
      while (next !== null || ahead.length > 0) {
        const came = await firstOf(ahead.length < maxAhead ? next : null, ahead[0]);
        if (options.signal?.aborted === true) throw cancelled();
        if ("refusal" in came) {
          ahead.shift();
          yield came;
        } else if (came.done === true) {
          next = null;
        } else {
          ahead.push(handled(settle(came.value as JobToSubmit, options)));
          next = pull();
        }
      }
    } finally {
      await source.return();
    }
  }

  async function submitMany(jobs: ManyJobs<H>, options: CallOptions = {}): Promise<Submitted[]> {
    const outcomes: Submitted[] = [];
    for await (const outcome of submitStream(jobs, options)) outcomes.push(outcome);
    return outcomes;
  }

  const methods = {
    submit,
    submitMany,
    submitStream,
    handle: (jobId: string) => new JobHandle(calls, jobId, true),
  } as JobMethods<H>;
  return { ...rpc, ...methods };
}

async function* each<T>(items: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T, void, void> {
  yield* items;
}

/** The same promise; that it fails is found out when it is awaited, which may be later or never. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** What comes first of those that are there; one of them always is. */
function firstOf<A, B>(a: Promise<A> | null, b: Promise<B> | undefined): Promise<A | B> {
  if (a === null) return b as Promise<B>;
  return b === undefined ? a : Promise.race([a, b]);
}
