/** Workers over a real connection: what they are given, what they bring back, and what becomes of it when somebody is killed. */
import { randomUUID } from "node:crypto";
import type { ExecutionStart } from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { StepSpec as Spec, type StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { connectFakeWorker, type FakeWorker } from "./fakeWorker.ts";
import { factsOf, startOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let running: TestService[];
let service: TestService;

beforeAll(async () => {
  nats = await startTestNats();
});

afterAll(() => nats.release());

beforeEach(async () => {
  database = await createTestDatabase("execution");
  running = [];
  service = await open();
});

afterEach(async () => {
  await Promise.all(running.map((each) => each.end("SIGKILL")));
  await database.drop();
});

async function open(): Promise<TestService> {
  const opened = await startTestService({ database, natsUrl: nats.url });
  running.push(opened);
  return opened;
}

async function kill(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  running = running.filter((each) => each !== service);
  await service.end(signal);
}

async function startCalls(count: number, spec: Partial<StepSpec> = {}): Promise<readonly string[]> {
  const starts = Array.from({ length: count }, () => callOf(spec));
  await service.internal.startExecutions({ starts });
  return starts.map(({ executionId }) => executionId);
}

function callOf(spec: Partial<StepSpec> = {}): ExecutionStart {
  const handler = { handler: "resize", input: { width: 100 }, ...spec };
  return startOf(handler, { kind: "PROVIDER_KIND_WORKER", providerName: "media" });
}

async function get(executionId: string) {
  const { execution } = await service.executions.getExecution({ executionId });
  return execution;
}

async function isIn(executionId: string, state: string): Promise<boolean> {
  return (await get(executionId))?.state === `EXECUTION_STATE_${state}`;
}

async function assignedTo(worker: FakeWorker, count = 1): Promise<readonly string[]> {
  await eventually(() => expect(worker.assigned).toHaveLength(count));
  return worker.assigned.map(({ executionId }) => executionId);
}

describe("a worker that is connected", () => {
  test("is given a call with all that belongs to it, and its result is recorded and then acknowledged", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    expect(worker.assigned[0]).toMatchObject({
      executionId: id,
      fence: 1,
      step: "main",
      attempt: 1,
      handler: "resize",
      input: { width: 100 },
    });
    worker.say({ started: [{ executionId: id, time: new Date() }] });
    await eventually(() => isIn(id, "RUNNING"));
    expect((await get(id))?.externalRef).toBe(`worker:${worker.id}`);
    worker.finish(id, { result: { path: ["a", 1, null] } });
    await eventually(() => expect(worker.acknowledged).toEqual([id]));
    expect(await get(id)).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", result: { path: ["a", 1, null] } });
    expect((await factsOf(database, id)).map(({ event }) => event)).toEqual(["started", "succeeded"]);
  });

  test("that says start and end together tells one fact, which knows both times", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    const startTime = new Date("2026-01-01T00:00:00Z");
    worker.finish(id, { startTime, endTime: new Date("2026-01-01T00:00:01Z") });
    await eventually(() => isIn(id, "SUCCEEDED"));
    const facts = await factsOf(database, id);
    expect(facts).toMatchObject([
      {
        sequence: 1,
        event: "succeeded",
        data: { startTime: "2026-01-01T00:00:00.000Z", time: "2026-01-01T00:00:01.000Z" },
      },
    ]);
  });

  test("is never given more than it has credit for, and the rest when it has more", async () => {
    const worker = await connectFakeWorker(service.address, { slots: 3 });
    const ids = await startCalls(8);
    const first = await assignedTo(worker, 3);
    for (const id of first) worker.finish(id);
    await assignedTo(worker, 6);
    for (const id of worker.assigned.slice(3).map(({ executionId }) => executionId)) worker.finish(id);
    expect([...(await assignedTo(worker, 8))].sort()).toEqual([...ids].sort());
  });

  test("is only given handlers that it has, on labels that fit", async () => {
    const small = await connectFakeWorker(service.address, { labels: { size: "1" }, slots: 100 });
    const large = await connectFakeWorker(service.address, { labels: { size: "9" }, slots: 100 });
    const other = await connectFakeWorker(service.address, { handlers: ["other"], slots: 100 });
    const constraints = [{ key: "size", operator: "LABEL_OPERATOR_GT" as const, values: ["5"] }];
    const placement = Spec.fromPartial({ placement: { constraints } }).placement;
    await startCalls(20, { placement });
    await assignedTo(large, 20);
    expect([small.assigned, other.assigned]).toEqual([[], []]);
  });

  test.each([
    ["WORKER_OUTCOME_FAILED", "FAILED", "HANDLER_FAILED"],
    ["WORKER_OUTCOME_NON_RETRYABLE", "FAILED", "NON_RETRYABLE"],
    ["WORKER_OUTCOME_LOST", "LOST", "LOST"],
  ] as const)("that says %s has the execution end %s", async (outcome, state, reason) => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.finish(id, { outcome, message: "no such picture" });
    await eventually(() => isIn(id, state));
    expect((await get(id))?.reason).toBe(`REASON_${reason}`);
    if (state === "FAILED") expect((await get(id))?.message).toBe("no such picture");
  });

  test("is told to stop what is stopped, and the execution ends as it was stopped", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.say({ started: [{ executionId: id, time: new Date() }] });
    await eventually(() => isIn(id, "RUNNING"));
    const stop = { executionId: id, reason: "REASON_CANCELLED_BY_USER" as const, message: "enough", tenant: "default" };
    const jobId = (await get(id))?.jobId ?? "";
    await service.internal.stopExecutions({ stops: [{ ...stop, jobId, step: "main", attempt: 1 }] });
    await eventually(() => expect(worker.cancelled).toEqual([id]));
    expect(worker.reasons).toEqual([{ reason: "REASON_CANCELLED_BY_USER", message: "enough" }]);
    worker.finish(id, { outcome: "WORKER_OUTCOME_STOPPED" });
    await eventually(() => isIn(id, "CANCELLED"));
    expect((await get(id))?.message).toBe("enough");
  });

  test("is stopped by the run timeout, and one that does not answer is waited for no longer than a lease", async () => {
    const worker = await connectFakeWorker(service.address);
    const limits = { runTimeout: { seconds: 0, nanos: 200e6 }, stopGrace: { seconds: 0, nanos: 100e6 } };
    const [id = ""] = await startCalls(1, limits);
    await assignedTo(worker);
    worker.say({ started: [{ executionId: id, time: new Date() }] });
    await eventually(() => expect(worker.cancelled).toEqual([id]));
    expect(worker.reasons).toEqual([{ reason: "REASON_RUN_TIMEOUT", message: "ran longer than 0.2 s" }]);
    const words = setInterval(() => worker.say({}), 300);
    await eventually(() => isIn(id, "TIMED_OUT"));
    clearInterval(words);
  });

  test("its log and how far it is can be read", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.say({
      started: [{ executionId: id, time: new Date() }],
      logs: [{ executionId: id, data: Buffer.from("one\ntwo\n") }],
      progress: [{ executionId: id, fraction: 0.5, message: "half" }],
    });
    await eventually(async () => expect((await get(id))?.progress).toEqual({ fraction: 0.5, message: "half" }));
    worker.finish(id);
    await eventually(() => isIn(id, "SUCCEEDED"));
    const parts: string[] = [];
    for await (const { part } of service.executions.tailLogs({ executionId: id, afterSequence: 0, follow: true })) {
      if (part?.$case === "chunk") parts.push(Buffer.from(part.value.data).toString());
    }
    expect(parts.join("")).toBe("one\ntwo\n");
  });

  test("a result that is too large fails for good, and says the limit", async () => {
    const worker = await connectFakeWorker(service.address);
    const [fits = "", isOver = ""] = await startCalls(2);
    await assignedTo(worker, 2);
    worker.finish(fits, { result: "x".repeat(262_144 - 2) });
    worker.finish(isOver, { result: "x".repeat(262_144 - 1) });
    await eventually(() => isIn(fits, "SUCCEEDED"));
    await eventually(() => isIn(isOver, "FAILED"));
    expect(await get(isOver)).toMatchObject({
      reason: "REASON_NON_RETRYABLE",
      message: "its result has 262145 bytes as JSON; the limit is 262144",
    });
  });

  test("an empty message is answered, so that it knows that the connection stands", async () => {
    const worker = await connectFakeWorker(service.address);
    const before = worker.heard;
    worker.say({});
    await eventually(() => expect(worker.heard).toBeGreaterThan(before));
  });
});

describe("a registration", () => {
  test("is refused with every bad field", async () => {
    const worker = await connectFakeWorker(service.address, { pool: "Bad Pool", handlers: ["a b"], slots: 0 });
    expect(worker.ended?.code).toBe(3);
    for (const field of ["pool", "handlers[0]", "slots"]) expect(worker.ended?.message).toContain(field);
  });

  test("a message with more than its limit ends the connection with the field and the limit", async () => {
    const worker = await connectFakeWorker(service.address);
    const started = Array.from({ length: 1_001 }, () => ({ executionId: randomUUID(), time: new Date() }));
    worker.say({ started });
    await eventually(() => expect(worker.ended?.message).toContain("started"));
    expect(worker.ended?.message).toContain("1000");
  });

  test("of the same worker again ends the connection before", async () => {
    const first = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(first);
    const held = [{ executionId: id, fence: 1 }];
    const second = await connectFakeWorker(service.address, { workerId: first.id, held });
    first.say({});
    await eventually(() => expect(first.ended?.code).toBe(10));
    second.finish(id);
    await eventually(() => isIn(id, "SUCCEEDED"));
  });
});

describe("a worker that goes away", () => {
  test("and says goodbye is gone; one that is cut off is silent, and lost after its lease", async () => {
    const [polite, rude] = [await connectFakeWorker(service.address), await connectFakeWorker(service.address)];
    const states = () => queryOnce(database.adminUrl, "select id, is_connected from execution.worker order by id");
    expect(await states()).toHaveLength(2);
    polite.end();
    rude.cut();
    await eventually(async () => expect(await states()).toEqual([{ id: rude.id, is_connected: false }]));
    await eventually(async () => expect(await states()).toEqual([]));
    expect((await factsOf(database, polite.id)).map(({ event }) => event)).toEqual(["connected", "disconnected"]);
    await eventually(async () => {
      expect((await factsOf(database, rude.id)).map(({ event }) => event)).toEqual(["connected", "lost"]);
    });
  });

  test("loses what it has when its lease is over", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.cut();
    await eventually(() => isIn(id, "LOST"));
    expect((await get(id))?.message).toContain("silent for 3 s");
  });

  test("and comes back in time goes on with what it has, and hands in what has ended meanwhile", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.say({ started: [{ executionId: id, time: new Date() }] });
    await eventually(() => isIn(id, "RUNNING"));
    worker.cut();
    const held = [{ executionId: id, fence: 1 }];
    const back = await connectFakeWorker(service.address, { workerId: worker.id, held });
    back.finish(id, { result: 7 });
    await eventually(() => expect(back.acknowledged).toEqual([id]));
    expect(await get(id)).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", result: 7, fence: 1 });
  });

  test("and comes back without what it was sent: that goes to another", async () => {
    const worker = await connectFakeWorker(service.address, { slots: 1 });
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.cut();
    await eventually(async () => {
      const rows = await queryOnce(database.adminUrl, "select 1 from execution.worker where not is_connected");
      expect(rows).toHaveLength(1);
    });
    const other = await connectFakeWorker(service.address, { slots: 1 });
    await connectFakeWorker(service.address, { workerId: worker.id, slots: 1, handlers: ["other"] });
    expect(await assignedTo(other)).toEqual([id]);
    other.finish(id);
    await eventually(() => isIn(id, "SUCCEEDED"));
  });

  test("and holds what is over by now may forget it", async () => {
    const id = randomUUID();
    const worker = await connectFakeWorker(service.address, { held: [{ executionId: id, fence: 1 }] });
    await eventually(() => expect(worker.cancelled).toEqual([id]));
    worker.finish(id);
    await eventually(() => expect(worker.acknowledged).toEqual([id]));
  });
});

describe("when the service is killed", () => {
  test.each(["SIGKILL", "SIGTERM"] as const)("with %s, its worker goes on with the next", async (signal) => {
    const worker = await connectFakeWorker(service.address);
    const [id = "", late = ""] = await startCalls(2);
    await assignedTo(worker, 2);
    worker.say({ started: [{ executionId: id, time: new Date() }] });
    await eventually(() => isIn(id, "RUNNING"));
    await kill(signal);
    service = await open();
    const held = [id, late].map((executionId) => ({ executionId, fence: 1 }));
    const back = await connectFakeWorker(service.address, { workerId: worker.id, held });
    for (const executionId of [id, late]) back.finish(executionId, { result: "done" });
    await eventually(() => expect([...back.acknowledged].sort()).toEqual([id, late].sort()));
    for (const executionId of [id, late]) {
      expect(await get(executionId)).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", result: "done" });
      const ends = (await factsOf(database, executionId)).filter(({ event }) => event === "succeeded");
      expect(ends).toHaveLength(1);
    }
  });

  test("what its worker never brings back is lost after a lease", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    await kill("SIGKILL");
    service = await open();
    await eventually(() => isIn(id, "LOST"));
  });
});

describe("two replicas", () => {
  test("a worker that moves to the other takes along what it has", async () => {
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(1);
    await assignedTo(worker);
    worker.say({ started: [{ executionId: id, time: new Date() }] });
    await eventually(() => isIn(id, "RUNNING"));
    const other = await open();
    worker.cut();
    const held = [{ executionId: id, fence: 1 }];
    const moved = await connectFakeWorker(other.address, { workerId: worker.id, held });
    await eventually(() => expect(moved.held).toEqual([{ executionId: id, fence: 2 }]));
    moved.finish(id, { fence: 2 });
    await eventually(() => isIn(id, "SUCCEEDED"));
    expect((await factsOf(database, id)).map(({ event }) => event)).toEqual(["started", "succeeded"]);
  });

  test("what one cannot give to any worker of its own goes to the other's", async () => {
    const other = await open();
    const worker = await connectFakeWorker(other.address, { slots: 50 });
    const ids = await startCalls(20);
    expect([...(await assignedTo(worker, 20))].sort()).toEqual([...ids].sort());
    for (const id of ids) worker.finish(id, { fence: 2 });
    for (const id of ids) await eventually(() => isIn(id, "SUCCEEDED"));
  });
});
