/**
 * Groups submits: what is handed in while an RPC is under way goes together in the next one. The first goes at once, in the same
 * turn of the event loop, so that grouping costs no time when there is nothing to group. What was not answered because the
 * connection broke is sent again: every request has a request id, so that the platform makes no second job of it. What was refused
 * until a time is sent again then.
 */
import { DomainError } from "@capstan/errors";
import type { AcceptedJob, SubmitJobResult, SubmitJobsResponse } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { type Context, context, trace } from "@opentelemetry/api";
import { backoffMs } from "./backoff.ts";
import { cancelled, isBroken, tooLate } from "./failures.ts";
import type { Submission } from "./submission.ts";

/** As far as one call goes: items, and bytes with room to spare below the 4 MiB of a request. */
const maxItems = 1_000;
const maxWeight = 3 * 1024 * 1024;
/** A second call is worth its price when so many wait; fewer wait for the answer of the first. */
const secondCallItems = 100;

interface Waiting extends Submission {
  readonly deadline: number;
  /** Whose trace the job belongs to: a call has one trace, so that only jobs of the same go together. */
  readonly context: Context;
  readonly spanId: string | undefined;
  resolve(job: AcceptedJob): void;
  reject(error: DomainError): void;
  /** Why it was not answered yet. */
  failure: DomainError | null;
  isOver: boolean;
}

interface SubmitSettings {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

type SubmitQueue = (submission: Submission, settings: SubmitSettings) => Promise<AcceptedJob>;

type Send = (
  request: { readonly requests: Submission["request"][] },
  settings: { readonly deadlineMs: number },
) => Promise<SubmitJobsResponse>;

/**
 * Gives back how to submit one job: it resolves when the job is accepted, and rejects with why it was refused. Nothing is sent
 * again once `closed` has aborted.
 */
export function openSubmitQueue(send: Send, closed: AbortSignal): SubmitQueue {
  let waiting: Waiting[] = [];
  let callsUnderWay = 0;
  let failures = 0;
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled || waiting.length === 0) return;
    if (callsUnderWay >= 2 || (callsUnderWay === 1 && waiting.length < secondCallItems)) return;
    isScheduled = true;
    if (failures === 0) setImmediate(start);
    else setTimeout(start, backoffMs(failures));
  }

  function start(): void {
    isScheduled = false;
    const [first, ...rest] = takeBatch();
    if (first !== undefined) void call([first, ...rest]);
    schedule();
  }

  function takeBatch(): Waiting[] {
    const batch: Waiting[] = [];
    let weight = 0;
    let taken = 0;
    for (const item of waiting) {
      weight += item.weight;
      if (batch.length === maxItems || (weight > maxWeight && batch.length > 0)) break;
      if (batch[0] !== undefined && batch[0].spanId !== item.spanId) break;
      taken += 1;
      if (!item.isOver) batch.push(item);
    }
    waiting = waiting.slice(taken);
    return batch;
  }

  async function call(batch: readonly [Waiting, ...Waiting[]]): Promise<void> {
    callsUnderWay += 1;
    const deadline = batch.reduce((latest, item) => Math.max(latest, item.deadline), 0);
    try {
      const requests = batch.map(({ request }) => request);
      const deadlineMs = Math.max(1, deadline - Date.now());
      const { results } = await context.with(batch[0].context, () => send({ requests }, { deadlineMs }));
      failures = 0;
      for (const [index, item] of batch.entries()) answer(item, results[index], refuse);
    } catch (error) {
      failBatch(batch, error);
    }
    callsUnderWay -= 1;
    schedule();
  }

  /** One that may be accepted later is asked for again then, if that is before its deadline: its queue is full. */
  function refuse(item: Waiting, refusal: DomainError): void {
    const { retryAfterMs } = refusal;
    if (retryAfterMs === null || closed.aborted || Date.now() + retryAfterMs >= item.deadline)
      return item.reject(refusal);
    item.failure = refusal;
    const again = () => {
      if (closed.aborted) return item.reject(cancelled());
      if (item.isOver) return;
      waiting.push(item);
      schedule();
    };
    // Later by up to a tenth, so that those that were refused together do not come together.
    setTimeout(again, retryAfterMs * (1 + Math.random() / 10));
  }

  function failBatch(batch: readonly Waiting[], error: unknown): void {
    if (closed.aborted || !isBroken(error)) {
      const failure = error instanceof DomainError ? error : defect(error);
      for (const item of batch) item.reject(closed.aborted ? cancelled() : failure);
      return;
    }
    failures += 1;
    for (const item of batch) item.failure = error;
    waiting = [...batch, ...waiting];
  }

  return ({ request, weight }, { deadlineMs, signal }) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(cancelled());
      const end = () => {
        item.isOver = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", giveUp);
      };
      const giveUp = () => item.reject(cancelled());
      const expire = () => item.reject(item.failure ?? tooLate(`the job was not accepted within ${deadlineMs} ms`));
      const timer = setTimeout(expire, deadlineMs);
      const item: Waiting = {
        request,
        weight,
        deadline: Date.now() + deadlineMs,
        context: context.active(),
        spanId: trace.getSpanContext(context.active())?.spanId,
        failure: null,
        isOver: false,
        resolve: (job) => {
          end();
          resolve(job);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      signal?.addEventListener("abort", giveUp, { once: true });
      waiting.push(item);
      schedule();
    });
}

function answer(
  item: Waiting,
  result: SubmitJobResult | undefined,
  refuse: (item: Waiting, refusal: DomainError) => void,
): void {
  switch (result?.outcome?.$case) {
    case "accepted":
      return item.resolve(result.outcome.value);
    case "refused": {
      const { code, reason, message, fields, jobId, retryAfter } = result.outcome.value;
      const { seconds, nanos } = retryAfter ?? { seconds: 0, nanos: 0 };
      return refuse(
        item,
        new DomainError({
          code: code as DomainError["code"],
          reason,
          message: withoutIndex(message),
          fields: fields.map(({ field, description }) => ({ field: withoutIndex(field), description })),
          metadata: jobId === "" ? {} : { jobId },
          ...(retryAfter === undefined ? {} : { retryAfterMs: seconds * 1_000 + nanos / 1_000_000 }),
        }),
      );
    }
    default:
      return item.reject(defect(new Error("the platform has answered without a result")));
  }
}

/** A caller knows nothing of the group that its job went in. */
function withoutIndex(text: string): string {
  return text.replaceAll(/\brequests\[\d+\]\./g, "");
}

function defect(error: unknown): DomainError {
  return new DomainError({ code: "INTERNAL", reason: "INTERNAL", message: `${error}` });
}
