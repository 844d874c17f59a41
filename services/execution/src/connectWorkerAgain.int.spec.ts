/** Workers that come back at a bad moment, say what they should not, or are left by those around them. */
import { randomUUID } from "node:crypto";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { startFakeProvider } from "./fakeProvider.ts";
import { connectFakeWorker, type FakeWorker } from "./fakeWorker.ts";
import { startOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let running: TestService[];

beforeAll(async () => {
  nats = await startTestNats();
});

afterAll(() => nats.release());

beforeEach(async () => {
  database = await createTestDatabase("execution");
  running = [];
});

afterEach(async () => {
  await Promise.all(running.map((each) => each.end("SIGKILL")));
  await database.drop();
});

/** Leases are so long that workers who say nothing are not given up. */
async function open(env: Readonly<Record<string, string>> = {}): Promise<TestService> {
  const more = { CAPSTAN_WORKER_LEASE_MS: "600000", ...env };
  const opened = await startTestService({ database, natsUrl: nats.url, env: more });
  running.push(opened);
  return opened;
}

const query = (sql: string, values: readonly unknown[] = []) => queryOnce(database.adminUrl, sql, [...values]);

async function startCalls({ internal }: TestService, count: number, spec: Partial<StepSpec> = {}) {
  const call = { handler: "resize", ...spec };
  const starts = Array.from({ length: count }, () =>
    startOf(call, { kind: "PROVIDER_KIND_WORKER", providerName: "media" }),
  );
  await internal.startExecutions({ starts });
  return starts.map(({ executionId }) => executionId);
}

async function get(executionId: string) {
  const [service] = running as [TestService];
  return (await service.executions.getExecution({ executionId })).execution;
}

async function isIn(executionId: string, state: string): Promise<boolean> {
  return (await get(executionId))?.state === `EXECUTION_STATE_${state}`;
}

async function assignedTo(worker: FakeWorker, count = 1): Promise<readonly string[]> {
  await eventually(() => expect(worker.assigned).toHaveLength(count));
  return worker.assigned.map(({ executionId }) => executionId);
}

async function startOn(worker: FakeWorker, service: TestService): Promise<string> {
  const [id = ""] = await startCalls(service, 1);
  await eventually(() => expect(worker.assigned.map(({ executionId }) => executionId)).toContain(id));
  worker.say({ started: [{ executionId: id, time: new Date() }] });
  await eventually(() => isIn(id, "RUNNING"));
  return id;
}

async function stop({ internal }: TestService, executionId: string): Promise<void> {
  const jobId = (await get(executionId))?.jobId ?? "";
  const why = { reason: "REASON_CANCELLED_BY_USER" as const, message: "enough" };
  await internal.stopExecutions({
    stops: [{ executionId, tenant: "default", jobId, step: "main", attempt: 1, ...why }],
  });
}

describe("a worker whose runner", () => {
  test("becomes another runner is told to connect again, though nothing ran on it", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address);
    await query("delete from execution.runner");
    await eventually(() => expect(worker.isTurnedAway).toBe(true));
  });

  test("finds its row removed is told to connect again", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address);
    await query("delete from execution.worker");
    // All are looked at when one comes.
    await connectFakeWorker(service.address);
    await eventually(() => expect(worker.isTurnedAway).toBe(true));
  });

  test("waits for a provider service that does not answer is accepted in good time", async () => {
    const provider = await startFakeProvider();
    provider.pause();
    const service = await open({ CAPSTAN_PROVIDER_ADDRESS: provider.address });
    const beganMs = performance.now();
    const worker = await connectFakeWorker(service.address);
    expect(worker.ended).toBeNull();
    // The SDK gives up after ten seconds.
    expect(performance.now() - beganMs).toBeLessThan(9_000);
  });
});

describe("a worker that comes back", () => {
  test("while its connection before ends is connected for everybody", async () => {
    const provider = await startFakeProvider();
    const service = await open({ CAPSTAN_PROVIDER_ADDRESS: provider.address });
    const first = await connectFakeWorker(service.address);
    provider.pause();
    const second = connectFakeWorker(service.address, { workerId: first.id });
    await eventually(() => expect(provider.waiting).toBeGreaterThan(0));
    first.cut();
    // What is done about its end is done when the next has gone through the same.
    await eventually(async () => {
      const other = await connectFakeWorker(service.address, { pool: "Bad Pool" });
      expect(other.ended).not.toBeNull();
    });
    provider.resume();
    await second;
    const [row] = await query("select is_connected from execution.worker");
    expect(row).toEqual({ is_connected: true });
  });

  test("to the first of two runners within its lease has what it brings taken there again", async () => {
    const [one, two] = [await open(), await open()];
    const first = await connectFakeWorker(one.address);
    const id = await startOn(first, one);
    first.cut();
    const held = [{ executionId: id, fence: 1 }];
    const second = await connectFakeWorker(two.address, { workerId: first.id, held });
    await eventually(() => expect(second.held).toEqual([{ executionId: id, fence: 2 }]));
    second.cut();
    const third = await connectFakeWorker(one.address, { workerId: first.id, held: [{ executionId: id, fence: 2 }] });
    expect(third.held).toEqual([{ executionId: id, fence: 3 }]);
    third.finish(id, { fence: 3, result: "done" });
    await eventually(() => expect(third.acknowledged).toEqual([id]));
    expect(await get(id)).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", result: "done" });
  });

  test("is told again to stop what it was told to stop while it was away", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address);
    const id = await startOn(worker, service);
    worker.cut();
    await eventually(async () => {
      expect(await query("select is_connected from execution.worker")).toEqual([{ is_connected: false }]);
    });
    await stop(service, id);
    const held = [{ executionId: id, fence: 1 }];
    const back = await connectFakeWorker(service.address, { workerId: worker.id, held });
    await eventually(() => expect(back.cancelled).toEqual([id]));
    back.finish(id, { outcome: "WORKER_OUTCOME_STOPPED" });
    await eventually(() => isIn(id, "CANCELLED"));
  });

  test("without what it was sent: that waits in its turn, and is not passed by what comes later", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address, { slots: 1 });
    const [missed = ""] = await startCalls(service, 1);
    await assignedTo(worker);
    const [next = ""] = await startCalls(service, 1);
    worker.cut();
    const back = await connectFakeWorker(service.address, { workerId: worker.id, slots: 1 });
    expect(await assignedTo(back)).toEqual([next]);
    await eventually(async () => expect((await get(missed))?.reason).toBe("REASON_PROVIDER_UNREACHABLE"));
    const [late = ""] = await startCalls(service, 1);
    back.finish(next);
    expect(await assignedTo(back, 2)).toEqual([next, missed]);
    back.finish(missed);
    expect(await assignedTo(back, 3)).toEqual([next, missed, late]);
  });
});

describe("a worker that says", () => {
  test("that it holds what another has may forget it, wherever the other is", async () => {
    const [one, two] = [await open(), await open()];
    const owner = await connectFakeWorker(one.address);
    const id = await startOn(owner, one);
    const held = [{ executionId: id, fence: 1 }];
    for (const { address } of [one, two]) {
      const thief = await connectFakeWorker(address, { held });
      await eventually(() => expect(thief.cancelled).toEqual([id]));
      expect(thief.held).toEqual([]);
    }
    owner.finish(id);
    await eventually(() => isIn(id, "SUCCEEDED"));
    expect((await get(id))?.fence).toBe(1);
  });

  test.each([
    ["control characters in a label", { labels: { zone: "a\0b" } }],
  ])("%s is refused, because all pools are counted together", async (_, register) => {
    const service = await open();
    const worker = await connectFakeWorker(service.address, register);
    expect(worker.ended).toMatchObject({ code: 3, message: expect.stringContaining("labels") });
  });

  test("it is one of another pool is refused, and that one goes on", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address);
    const other = await connectFakeWorker(service.address, { workerId: worker.id, pool: "other" });
    expect(other.ended?.code).toBe(9);
    const id = await startOn(worker, service);
    worker.finish(id);
    await eventually(() => expect(worker.acknowledged).toEqual([id]));
  });

  test("that it has nothing of what it was assigned a lease ago has lost it, and that is told as a repair", async () => {
    const service = await open({ CAPSTAN_WORKER_LEASE_MS: "2000" });
    const worker = await connectFakeWorker(service.address);
    const id = await startOn(worker, service);
    await eventually(async () => {
      worker.say({ holding: { executionIds: [] } });
      expect(await isIn(id, "LOST")).toBe(true);
    });
    expect(await get(id)).toMatchObject({ message: "its worker no longer knows it" });
    const repairs = () => query("select data from execution.event where noun = 'repair'");
    await eventually(async () =>
      expect(await repairs()).toMatchObject([{ data: { repair: "miss-execution", refs: [id] } }]),
    );
  });

  test("times that cannot be has its end recorded with ours", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address, { slots: 2 });
    const [started, both] = [await startOn(worker, service), await startOn(worker, service)];
    // No Date can hold it; its seconds can be sent.
    const never = Object.assign(new Date(0), { getTime: () => 9e15 });
    worker.finish(started, { endTime: never });
    worker.finish(both, { startTime: never, endTime: new Date("0001-01-01T00:00:00Z") });
    for (const id of [started, both]) await eventually(() => isIn(id, "SUCCEEDED"));
  });

  test("what Postgres takes as no text has its end, its progress and its log recorded all the same", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address);
    const [good, bad] = [await startOn(worker, service), await startOn(worker, service)];
    worker.say({
      progress: [{ executionId: good, fraction: Number.NaN, message: "a\0\u001b[31mb" }],
      logs: [{ executionId: good, data: Buffer.from([0, 0xff, 0xfe]) }],
      credit: -5,
    });
    await eventually(async () => expect((await get(good))?.progress).toMatchObject({ message: "a\0\u001b[31mb" }));
    worker.finish(good, { result: { "a\0": "b\0", long: "\u{1f600}".repeat(3) } });
    worker.finish(bad, { outcome: "WORKER_OUTCOME_FAILED", message: `no\0pe${"\u{1f600}".repeat(2_000)}` });
    await eventually(() => isIn(good, "SUCCEEDED"));
    await eventually(() => isIn(bad, "FAILED"));
    expect((await get(good))?.result).toEqual({ "a\0": "b\0", long: "\u{1f600}".repeat(3) });
  });

  test("a result that readers could not read fails for good", async () => {
    const service = await open();
    const worker = await connectFakeWorker(service.address);
    const id = await startOn(worker, service);
    const deep = Array.from({ length: 28 }).reduce((inner) => [inner], 1 as unknown);
    worker.finish(id, { result: deep });
    await eventually(() => isIn(id, "FAILED"));
    expect(await get(id)).toMatchObject({ reason: "REASON_NON_RETRYABLE", message: expect.stringContaining("24") });
  });

  test("never that something began cannot keep it from being stopped", async () => {
    const service = await open({ CAPSTAN_WORKER_LEASE_MS: "3000" });
    const worker = await connectFakeWorker(service.address);
    const [id = ""] = await startCalls(service, 1, { stopGrace: { seconds: 0, nanos: 100e6 } });
    await assignedTo(worker);
    await stop(service, id);
    await eventually(() => expect(worker.cancelled).toEqual([id]));
    const words = setInterval(() => worker.say({}), 300);
    await eventually(() => isIn(id, "CANCELLED"));
    clearInterval(words);
  });
});

test("more pools than one report may name are all reported", async () => {
  const provider = await startFakeProvider();
  const service = await open({ CAPSTAN_PROVIDER_ADDRESS: provider.address });
  await query("insert into execution.worker_pool select 'default', 'pool-' || n from generate_series(1, 1001) n");
  await connectFakeWorker(service.address);
  await eventually(() => expect(provider.reported.size).toBe(1_002));
});

describe("what waits for a worker", () => {
  const ghost = `insert into execution.worker (id, tenant, pool, slots, handlers, labels, sdk, host, runner_id, lease_until)
                 values ($1, 'default', 'media', 10, '{resize}', '{}', '', '', $1, now() + interval '1 hour')`;

  test("is not given to a runner that is gone", async () => {
    // What a dead runner has is given back by a take-over only, which this test must not wait for.
    const env = { CAPSTAN_TAKE_OVER_INTERVAL_MS: "3600000" };
    const [one, two] = [await open(env), await open(env)];
    await query(ghost, [randomUUID()]);
    const worker = await connectFakeWorker(two.address, { slots: 20 });
    const ids = await startCalls(one, 10);
    expect([...(await assignedTo(worker, 10))].sort()).toEqual([...ids].sort());
  });

  test("goes to and fro between runners whose workers are busy no oftener than each is patient", async () => {
    const services = [await open(), await open()] as const;
    for (const service of services) {
      const busy = await connectFakeWorker(service.address, { slots: 1 });
      await startOn(busy, service);
    }
    const [id = ""] = await startCalls(services[0], 1);
    const fenceOf = async () =>
      Number((await query("select fence from execution.execution where id = $1", [id]))[0]?.["fence"]);
    await eventually(async () => expect(await fenceOf()).toBeGreaterThanOrEqual(4), 40_000);
    // Handed over, taken up, and handed over again.
    const [row] = await query(
      "select extract(epoch from clock_timestamp() - create_time) * 1000 as ms from execution.execution where id = $1",
      [id],
    );
    expect(Number(row?.["ms"])).toBeGreaterThanOrEqual(4_000);
  }, 60_000);
});
