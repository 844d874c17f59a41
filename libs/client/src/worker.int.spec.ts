import { expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { NonRetryable, Stopped } from "./failures.ts";
import { newAssignment, startFakeRunner } from "./fakeRunner.ts";
import type { HandlerContext } from "./handlers.ts";
import { heldHandler, untilAborted, work } from "./testWorker.ts";

test("a worker says who it is and gives credit for its slots", async () => {
  const runner = await startFakeRunner();
  const { worker } = await work(runner, {
    slots: 7,
    labels: { gpu: "no" },
    handlers: { resize: () => 1, crop: () => 2 },
  });
  const { register, credit } = await runner.connection(0);
  expect(register).toMatchObject({
    workerId: worker.id,
    pool: "media",
    slots: 7,
    handlers: ["resize", "crop"],
    labels: { gpu: "no" },
    held: [],
  });
  expect(register.sdk).toMatch(/^capstan-node\/\d/);
  expect([credit, worker.state]).toEqual([7, "connected"]);
});

test("a handler is given its input and what it has to know, and its result goes back with the fence", async () => {
  const runner = await startFakeRunner();
  const seen: unknown[] = [];
  const resize = async (input: { url: string }, context: HandlerContext) => {
    const { jobId, step, attempt, executionId, idempotencyKey, traceparent } = context;
    seen.push({ input, jobId, step, attempt, executionId, idempotencyKey, traceparent });
    return { width: 100, at: new Date(0), nothing: undefined };
  };
  await work(runner, { handlers: { resize } });
  const connection = await runner.connection(0);
  const given = { jobId: "a-job", step: "main", attempt: 2, traceparent: "00-a-b-01" };
  const executionId = connection.assign("resize", { ...given, fence: 5, input: { url: "u" } });
  const finished = await eventually(() => connection.finished[0] ?? Promise.reject(new Error("not finished")));
  expect(finished).toMatchObject({ executionId, fence: 5, outcome: "WORKER_OUTCOME_SUCCEEDED" });
  expect(finished.result).toEqual({ width: 100, at: "1970-01-01T00:00:00.000Z" });
  expect(finished.startTime).toBeInstanceOf(Date);
  expect(seen).toEqual([{ input: { url: "u" }, ...given, executionId, idempotencyKey: "a-job/main" }]);
});

test("a thousand short executions cost a few messages, and credit comes back with their ends", async () => {
  const runner = await startFakeRunner();
  await work(runner, { slots: 1_000, handlers: { noop: (input) => input } });
  const connection = await runner.connection(0);
  const assigned = Array.from({ length: 1_000 }, (_, index) => newAssignment("noop", { input: index }));
  connection.say({ assigned });
  await eventually(() => expect(connection.finished).toHaveLength(1_000));
  expect(connection.finished.map(({ result }) => result)).toEqual(assigned.map(({ input }) => input));
  expect(connection.messages.length).toBeLessThan(10);
  // What has ended in the turn in which it began is told once.
  expect(connection.started).toEqual([]);
  await eventually(() => expect(connection.credit).toBe(2_000));
});

test("what begins is told at once, and a slot in use gives no credit", async () => {
  const runner = await startFakeRunner();
  const { handler, call } = heldHandler();
  await work(runner, { slots: 1, handlers: { handler } });
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  await eventually(() => expect(connection.started).toEqual([executionId]));
  expect(connection.credit).toBe(1);
  (await call(0)).end();
  await eventually(() => expect(connection.finished).toHaveLength(1));
  expect(connection.messages.at(-1)).toMatchObject({ credit: 1, finished: [{ executionId }] });
});

test("large results are split over messages that fit", async () => {
  const runner = await startFakeRunner();
  await work(runner, { slots: 20, handlers: { large: () => Array.from({ length: 60_000 }, () => 1) } });
  const connection = await runner.connection(0);
  connection.say({ assigned: Array.from({ length: 20 }, () => newAssignment("large")) });
  await eventually(() => expect(connection.finished).toHaveLength(20));
  for (const { finished } of connection.messages) expect(finished.length).toBeLessThanOrEqual(1);
});

test("a result outlives a broken connection: it is named, and handed in again with the new fence until acknowledged", async () => {
  const runner = await startFakeRunner({
    withAcceptance: ({ held }) => ({ held: held.map(({ executionId }) => ({ executionId, fence: 9 })) }),
  });
  const { worker } = await work(runner, { handlers: { answer: () => 42 } });
  const first = await runner.connection(0);
  const executionId = first.assign("answer");
  await eventually(() => expect(first.finished).toMatchObject([{ executionId, fence: 1, result: 42 }]));
  first.cut();
  const second = await runner.connection(1);
  expect(second.register).toMatchObject({ workerId: worker.id, held: [{ executionId, fence: 1 }] });
  await eventually(() => expect(second.finished).toMatchObject([{ executionId, fence: 9, result: 42 }]));
  second.say({ acknowledged: [executionId] });
  second.assign("answer");
  await eventually(() => expect(second.finished).toHaveLength(2));
  second.cut();
  expect((await runner.connection(2)).register.held).not.toContainEqual({ executionId, fence: 9 });
});

test("what runs goes on over a broken connection, is told again, and ends with the new fence", async () => {
  const runner = await startFakeRunner({
    withAcceptance: ({ held }) => ({ held: held.map(({ executionId }) => ({ executionId, fence: 2 })) }),
  });
  const { handler, calls, call } = heldHandler();
  await work(runner, { slots: 3, handlers: { handler } });
  const first = await runner.connection(0);
  const executionId = first.assign("handler");
  const { context, end } = await call(0);
  first.cut();
  const second = await runner.connection(1);
  expect(second.register.held).toEqual([{ executionId, fence: 1 }]);
  await eventually(() => expect(second.started).toEqual([executionId]));
  expect(second.credit).toBe(2);
  expect(context.signal.aborted).toBe(false);
  second.say({ assigned: [newAssignment("handler", { executionId })] });
  end("done");
  await eventually(() => expect(second.finished).toMatchObject([{ executionId, fence: 2, result: "done" }]));
  expect(calls).toHaveLength(1);
});

test("a worker that hears nothing for two thirds of its lease stops its work and reports it lost", async () => {
  const leaseMs = 600;
  const runner = await startFakeRunner({ leaseMs, isSilent: true });
  const { handler, call } = heldHandler();
  await work(runner, { handlers: { handler } });
  const first = await runner.connection(0);
  const before = performance.now();
  const executionId = first.assign("handler");
  const { context, end } = await call(0);
  await eventually(() => context.signal.aborted);
  // It heard the assignment after `before`, and a timer may be a millisecond early.
  expect(performance.now() - before).toBeGreaterThanOrEqual((leaseMs * 2) / 3 - 2);
  expect(context.signal.reason).toMatchObject({ name: "Stopped", reason: "CUT_OFF" });
  end("too late");
  const second = await runner.connection(1);
  await eventually(() => expect(second.finished).toMatchObject([{ executionId, outcome: "WORKER_OUTCOME_LOST" }]));
});

test("a handler that is asked to stop and throws is reported as stopped, with the reason it was given", async () => {
  const runner = await startFakeRunner();
  const seen: unknown[] = [];
  const handler = async (input: unknown, context: HandlerContext) => {
    await untilAborted(input, context).catch((reason: unknown) => seen.push(reason));
    throw new Error("stopped half way");
  };
  await work(runner, { handlers: { handler } });
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  await eventually(() => expect(connection.started).toEqual([executionId]));
  const grace = { seconds: 600, nanos: 0 };
  connection.say({ cancelled: [{ executionId, reason: "REASON_RUN_TIMEOUT", message: "too long", grace }] });
  await eventually(() =>
    expect(connection.finished).toMatchObject([{ outcome: "WORKER_OUTCOME_STOPPED", message: "stopped half way" }]),
  );
  expect(seen[0]).toBeInstanceOf(Stopped);
  expect(seen).toMatchObject([{ reason: "RUN_TIMEOUT", message: "too long" }]);
});

test("a handler that does not stop is given up after its grace, and its slot is free when it returns", async () => {
  const runner = await startFakeRunner();
  const { handler, call } = heldHandler();
  const { worker } = await work(runner, { slots: 1, handlers: { handler } });
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  const { end } = await call(0);
  const grace = { seconds: 0, nanos: 1e6 };
  connection.say({ cancelled: [{ executionId, reason: "REASON_CANCELLED_BY_USER", message: "", grace }] });
  await eventually(() => expect(connection.finished).toMatchObject([{ outcome: "WORKER_OUTCOME_STOPPED" }]));
  expect(connection.finished[0]?.message).toContain("within 1 ms");
  connection.say({ acknowledged: [executionId] });
  expect([worker.active, connection.credit]).toEqual([1, 1]);
  end("never mind");
  await eventually(() => expect([worker.active, connection.credit]).toEqual([0, 2]));
  expect(connection.finished).toHaveLength(1);
});

test("what is assigned and cancelled in one message is stopped", async () => {
  const runner = await startFakeRunner();
  await work(runner, { handlers: { untilAborted } });
  const connection = await runner.connection(0);
  const assigned = newAssignment("untilAborted");
  const { executionId } = assigned;
  const why = { reason: "REASON_CANCELLED_BY_USER", message: "", grace: { seconds: 600, nanos: 0 } } as const;
  connection.say({ assigned: [assigned], cancelled: [{ executionId, ...why }] });
  await eventually(() => expect(connection.finished).toMatchObject([{ outcome: "WORKER_OUTCOME_STOPPED" }]));
});

test.each<[string, unknown]>([
  ["has no form as text", Object.create(null)],
  ["is an error whose message and stack are no texts", Object.assign(new Error(), { message: { code: 7 }, stack: 8 })],
])("what a handler throws fails its execution and nothing else, also if it %s", async (_, thrown) => {
  const runner = await startFakeRunner();
  const handler = () => {
    throw thrown;
  };
  await work(runner, { slots: 1, handlers: { handler } });
  const connection = await runner.connection(0);
  connection.assign("handler");
  await eventually(() => expect(connection.finished).toMatchObject([{ outcome: "WORKER_OUTCOME_FAILED" }]));
  await eventually(() => expect(connection.credit).toBe(2));
});

test("what is lost is forgotten at once: nothing more is said of it", async () => {
  const runner = await startFakeRunner();
  const { handler, call } = heldHandler();
  await work(runner, { slots: 1, handlers: { handler } });
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  const { context, end } = await call(0);
  connection.say({ cancelled: [{ executionId, reason: "REASON_LOST", message: "it is over", grace: undefined }] });
  await eventually(() => context.signal.aborted);
  end();
  await eventually(() => expect(connection.credit).toBe(2));
  expect(connection.finished).toEqual([]);
});

test.each<[string, () => unknown, object]>([
  [
    "an error",
    () => {
      throw new Error("no such picture");
    },
    { outcome: "WORKER_OUTCOME_FAILED", message: "no such picture" },
  ],
  [
    "an error of a kind",
    () => {
      throw new TypeError("x");
    },
    { outcome: "WORKER_OUTCOME_FAILED", message: "TypeError: x" },
  ],
  [
    "NonRetryable",
    () => {
      throw new NonRetryable("the picture is broken");
    },
    { outcome: "WORKER_OUTCOME_NON_RETRYABLE", message: "the picture is broken" },
  ],
  [
    "a result that is too large",
    () => "x".repeat(262_143),
    { outcome: "WORKER_OUTCOME_NON_RETRYABLE", message: "its result has 262145 bytes as JSON; the limit is 262144" },
  ],
  [
    "a result that is no JSON",
    () => 1n,
    { outcome: "WORKER_OUTCOME_NON_RETRYABLE", message: expect.stringContaining("its result is no JSON") },
  ],
  ["a handler that the worker does not have", () => 0, { outcome: "WORKER_OUTCOME_FAILED" }],
])("%s is reported as what it is", async (name, handler, expected) => {
  const runner = await startFakeRunner();
  await work(runner, { handlers: { handler } });
  const connection = await runner.connection(0);
  connection.assign(name.startsWith("a handler that") ? "other" : "handler");
  await eventually(() => expect(connection.finished).toMatchObject([expected]));
});

test("lines of a log come before the end of their execution, progress as its last word", async () => {
  const runner = await startFakeRunner();
  const { handler, call } = heldHandler();
  await work(runner, { handlers: { handler } });
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  const { context, end } = await call(0);
  const { log, progress } = context;
  for (const share of [0.1, 0.2, 7]) progress(share, `at ${share}`);
  await eventually(() =>
    expect(connection.messages.flatMap((message) => message.progress)).toEqual([
      { executionId, fraction: 1, message: "at 7" },
    ]),
  );
  const line = "x".repeat(99_999);
  for (let count = 0; count < 10; count += 1) log(line);
  end();
  await eventually(() => expect(connection.finished).toHaveLength(1));
  const atEnd = connection.messages.findIndex(({ finished }) => finished.length > 0);
  const logs = connection.messages
    .slice(0, atEnd + 1)
    .map((message) => message.logs.flatMap(({ data }) => [...data]).length);
  expect(logs.reduce((sum, bytes) => sum + bytes, 0)).toBe(1_000_000);
  expect(Math.max(...logs)).toBeLessThanOrEqual(256 * 1024);
});
