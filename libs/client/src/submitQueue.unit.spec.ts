import { DomainError } from "@capstan/errors";
import type { SubmitJobRequest, SubmitJobsResponse } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { expect, onTestFinished, test, vi } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { submissionOf } from "./submission.ts";
import { openSubmitQueue } from "./submitQueue.ts";

const never = new AbortController().signal;
const unavailable = new DomainError({ code: "UNAVAILABLE", reason: "UNAVAILABLE", message: "nobody listens" });

interface Call {
  readonly spanId: string | undefined;
  readonly requests: readonly SubmitJobRequest[];
  accept(): void;
  /** Refuses each job, until a time. */
  refuse(retryAfterMs: number): void;
  fail(error: DomainError): void;
}

/** A queue whose calls are answered by the test. */
function openTestQueue(closed = never) {
  const calls: Call[] = [];
  const send = ({ requests }: { readonly requests: SubmitJobRequest[] }) =>
    new Promise<SubmitJobsResponse>((resolve, reject) => {
      const accepted = (request: SubmitJobRequest) => ({
        outcome: {
          $case: "accepted" as const,
          value: { jobId: `job of ${request.requestId}`, existed: false, warnings: [] },
        },
      });
      const spanId = trace.getSpanContext(context.active())?.spanId;
      const refused = (retryAfterMs: number) => ({
        outcome: {
          $case: "refused" as const,
          value: {
            ...{ code: "RESOURCE_EXHAUSTED", reason: "QUEUE_FULL", message: "full", fields: [], jobId: "" },
            retryAfter: { seconds: 0, nanos: retryAfterMs * 1_000_000 },
          },
        },
      });
      calls.push({
        ...{ requests, spanId, fail: reject },
        accept: () => resolve({ results: requests.map(accepted) }),
        refuse: (ms) => resolve({ results: requests.map(() => refused(ms)) }),
      });
    });
  const enqueue = openSubmitQueue(send, closed);
  let count = 0;
  const submit = (settings: { deadlineMs?: number; signal?: AbortSignal } = {}, weight = 100) => {
    const { request } = submissionOf({ name: "a", handler: "b" }, () => String(count++));
    return enqueue({ request, weight }, { deadlineMs: 60_000, ...settings });
  };
  const nextCall = (index: number) =>
    eventually(() => {
      const [call] = calls.slice(index);
      if (call === undefined) throw new Error(`there is no call ${index}`);
      return call;
    });
  return { calls, submit, nextCall };
}

test("jobs submitted in one turn of the event loop go in one call, and each gets its own answer", async () => {
  const { calls, submit, nextCall } = openTestQueue();
  const answers = Promise.all([submit(), submit(), submit()]);
  (await nextCall(0)).accept();
  expect((await answers).map(({ jobId }) => jobId)).toEqual(["job of 0", "job of 1", "job of 2"]);
  expect(calls).toHaveLength(1);
});

test("what is submitted while a call is under way goes together in the next", async () => {
  const { submit, nextCall } = openTestQueue();
  const first = submit();
  const call = await nextCall(0);
  const rest = [submit(), submit()];
  call.accept();
  await first;
  const next = await nextCall(1);
  expect(next.requests.map(({ requestId }) => requestId)).toEqual(["1", "2"]);
  next.accept();
  await Promise.all(rest);
});

test("a call takes at most 1,000 jobs and 3 MiB, and at most two are under way", async () => {
  const { calls, submit, nextCall } = openTestQueue();
  const small = Array.from({ length: 2_500 }, () => submit());
  const large = [submit({}, 2 * 1024 * 1024), submit({}, 2 * 1024 * 1024)];
  await nextCall(1);
  expect(calls.map(({ requests }) => requests.length)).toEqual([1_000, 1_000]);
  for (const index of [0, 1, 2, 3]) (await nextCall(index)).accept();
  await Promise.all([...small, ...large]);
  expect(calls.map(({ requests }) => requests.length)).toEqual([1_000, 1_000, 501, 1]);
});

test("a call whose answer was lost is repeated with the same request ids", async () => {
  const { submit, nextCall } = openTestQueue();
  const answer = submit();
  (await nextCall(0)).fail(unavailable);
  const again = await nextCall(1);
  expect(again.requests.map(({ requestId }) => requestId)).toEqual(["0"]);
  again.accept();
  await expect(answer).resolves.toEqual({ jobId: "job of 0", existed: false, warnings: [] });
});

test("when nobody answers before the deadline, a submit fails with why nobody did", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const { submit, nextCall } = openTestQueue();
  const answer = submit({ deadlineMs: 50 });
  answer.catch(() => {});
  (await nextCall(0)).fail(unavailable);
  await new Promise(setImmediate);
  vi.advanceTimersByTime(50);
  await expect(answer).rejects.toMatchObject({ code: "UNAVAILABLE", message: "nobody listens" });
});

test("a submit that is never answered fails at its deadline, and others go on", async () => {
  const { submit, nextCall } = openTestQueue();
  const [late, other] = [submit({ deadlineMs: 1 }), submit()];
  late.catch(() => {});
  await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  (await nextCall(0)).accept();
  await expect(other).resolves.toMatchObject({ existed: false });
});

test("an aborted submit fails with CANCELLED, and is not sent if it still waits", async () => {
  const { submit, nextCall } = openTestQueue();
  const first = submit();
  const call = await nextCall(0);
  const controller = new AbortController();
  const given = submit({ signal: controller.signal });
  const last = submit();
  controller.abort();
  await expect(given).rejects.toMatchObject({ code: "CANCELLED" });
  call.accept();
  await first;
  const next = await nextCall(1);
  expect(next.requests.map(({ requestId }) => requestId)).toEqual(["2"]);
  next.accept();
  await last;
});

test("a call that is refused as a whole refuses each of its jobs", async () => {
  const { submit, nextCall } = openTestQueue();
  const answers = Promise.allSettled([submit(), submit()]);
  const refusal = new DomainError({ code: "RESOURCE_EXHAUSTED", reason: "QUOTA", message: "no more" });
  (await nextCall(0)).fail(refusal);
  expect((await answers).map((each) => each.status === "rejected" && each.reason)).toEqual([refusal, refusal]);
});

test("what is refused until a time is asked for again then, with the same request id", async () => {
  const { submit, nextCall } = openTestQueue();
  const answer = submit();
  (await nextCall(0)).refuse(20);
  const again = await nextCall(1);
  expect(again.requests.map(({ requestId }) => requestId)).toEqual(["0"]);
  again.accept();
  await expect(answer).resolves.toMatchObject({ jobId: "job of 0" });
});

test("what is refused until after its deadline fails at once, and with why", async () => {
  const { calls, submit, nextCall } = openTestQueue();
  const answer = submit({ deadlineMs: 500 });
  answer.catch(() => {});
  (await nextCall(0)).refuse(900);
  await expect(answer).rejects.toMatchObject({ reason: "QUEUE_FULL", retryAfterMs: 900 });
  expect(calls).toHaveLength(1);
});

test("nothing is repeated after the connection was closed", async () => {
  const closing = new AbortController();
  const { calls, submit, nextCall } = openTestQueue(closing.signal);
  const answer = submit();
  answer.catch(() => {});
  const call = await nextCall(0);
  closing.abort();
  call.fail(unavailable);
  await expect(answer).rejects.toMatchObject({ code: "CANCELLED" });
  expect(calls).toHaveLength(1);
});

test("jobs of different traces go in calls of their own, each in its trace", async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  onTestFinished(() => context.disable());
  const { calls, submit, nextCall } = openTestQueue();
  const within = (spanId: string) =>
    trace.setSpanContext(ROOT_CONTEXT, { traceId: "a".repeat(32), spanId, traceFlags: 1 });
  const answers = ["1111111111111111", "1111111111111111", "2222222222222222"].map((spanId) =>
    context.with(within(spanId), () => submit()),
  );
  for (const index of [0, 1]) (await nextCall(index)).accept();
  await Promise.all(answers);
  expect(calls.map(({ spanId, requests }) => [spanId, requests.length])).toEqual([
    ["1111111111111111", 2],
    ["2222222222222222", 1],
  ]);
});
