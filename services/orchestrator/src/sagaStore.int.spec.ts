import { parseFilter } from "@capstan/grpc";
import { openPool, type Pool, uuidv7 } from "@capstan/postgres";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { countRowsRead } from "../../../test/support/rowsRead.ts";
import { type Saga, sagaId } from "./runJob.ts";
import { countLiveSagas, filterFields, listSagas } from "./sagaQueries.ts";
import { claimOverdue, insertSagas, type Overdue, saveSagas } from "./sagaStore.ts";
import { claimFirst } from "./waitingStore.ts";

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createMigratedDatabase("orchestrator", new URL("../migrations/", import.meta.url));
  pool = openPool({ url: database.url, schema: "orchestrator", log: createTestLog() });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

const placed = { providerId: "", providerName: "local", kind: "PROVIDER_KIND_PROCESS", endpoint: "" };

const lane = (placementKey: string) => ({ tenant: "default", queue: "default", key: "", placementKey });

/** Makes sagas that wait. */
async function wait(count: number, placementKey = "any process"): Promise<void> {
  const sagas = Array.from({ length: count }, () => {
    const jobId = uuidv7();
    return {
      id: sagaId(jobId, "main", 1),
      tenant: "default",
      jobId,
      jobName: "a job",
      step: "main",
      attempt: 1,
      priority: 0,
      spec: StepSpec.fromPartial({ command: ["true"] }),
      traceparent: null,
      readyTime: new Date(),
      placementKey,
      ...{ queue: "default", concurrencyKey: "", deadlineTime: null, orderTime: new Date() },
    };
  });
  await insertSagas(pool, sagas, () => false);
}

beforeEach(() => pool.query("truncate saga"));

test("looking for sagas that stand still reads nothing of those that go on", async () => {
  await wait(9);
  const sagas = await claimFirst(pool, lane("any process"), 9);
  await saveSagas(
    pool,
    sagas.map((saga) => ({ ...saga, stage: "STARTED", placed, wakeInMs: 60_000 })),
  );
  let overdue: Overdue = { sagas: [], nextMs: null };
  const read = await countRowsRead(pool, "saga", async (db) => {
    overdue = await claimOverdue(db, 256);
  });
  expect(read).toBe(1); // the next, to know when to look again
  expect(overdue.sagas).toEqual([]);
  expect(overdue.nextMs).toBeGreaterThan(50_000);
  expect(overdue.nextMs).toBeLessThanOrEqual(60_000);
});

test("those that stand still are claimed once, and the next of the others is told", async () => {
  await wait(3);
  const [first, ...others] = await claimFirst(pool, lane("any process"), 3);
  await saveSagas(pool, [
    { ...(first as Saga), stage: "STARTED", placed, wakeInMs: 20_000 },
    ...others.map((saga) => ({ ...saga, stage: "STARTED" as const, placed, wakeInMs: 0 })),
  ]);
  const { sagas, nextMs } = await claimOverdue(pool, 256);
  expect(sagas.map(({ id }) => id).sort()).toEqual(others.map(({ id }) => id).sort());
  expect(nextMs).toBeLessThanOrEqual(20_000);
  expect((await claimOverdue(pool, 256)).sagas).toEqual([]);
  await pool.query("truncate saga");
  expect(await claimOverdue(pool, 256)).toEqual({ sagas: [], nextMs: null });
});

test("the next of one key is found without reading what waits before it", async () => {
  await wait(200, "before");
  await wait(3, "behind");
  await pool.query("analyze saga");
  const read = await countRowsRead(pool, "saga", async (db) => {
    expect(await claimFirst(db, lane("behind"), 2)).toHaveLength(2);
  });
  expect(read).toBeLessThan(20);
});

test("the sagas of one job are found without reading those of others", async () => {
  await wait(200);
  await pool.query("analyze saga");
  const { rows } = await pool.query<{ job_id: string }>("select job_id from saga limit 1");
  const filter = parseFilter(`job_id = ${rows[0]?.job_id}`, filterFields);
  const read = await countRowsRead(pool, "saga", async (db) => {
    expect(await listSagas(db, { tenant: "default", filter, cursor: null, limit: 51 })).toHaveLength(1);
  });
  expect(read).toBe(1);
});

test("those that are parked are listed, and those that live counted, without reading what has ended", async () => {
  await wait(200);
  const sagas = await claimFirst(pool, lane("any process"), 196);
  const stageOf = (index: number) => (["PARKED", "STARTED", "STARTED"] as const)[index] ?? "DONE";
  await saveSagas(
    pool,
    sagas.map((saga, index) => {
      const stage = stageOf(index);
      return { ...saga, stage, placed, parkedStage: stage === "PARKED" ? ("WAITING" as const) : null };
    }),
  );
  await pool.query("vacuum analyze saga");
  const filter = parseFilter("stage = PARKED", filterFields);
  const listed = await countRowsRead(pool, "saga", async (db) => {
    expect(await listSagas(db, { tenant: "default", filter, cursor: null, limit: 51 })).toHaveLength(1);
  });
  expect(listed).toBe(1);
  const counted = await countRowsRead(pool, "saga", async (db) => {
    const counts = (await countLiveSagas(db)).map(({ stage, count }) => [stage, count]);
    const none = { RESERVED: 0, SETTLING: 0, COMPENSATING: 0 };
    expect(Object.fromEntries(counts)).toEqual({ ...none, WAITING: 4, STARTED: 2, PARKED: 1 });
  });
  expect(counted).toBeLessThanOrEqual(7);
});

test("those that live are counted of one tenant or of all, and those that wait up to a bound", async () => {
  await wait(5);
  const sagas = await claimFirst(pool, lane("any process"), 2);
  await saveSagas(
    pool,
    sagas.map((saga) => ({ ...saga, stage: "STARTED", placed, wakeInMs: 60_000 })),
  );
  const counted = async (options: Parameters<typeof countLiveSagas>[1]) =>
    Object.fromEntries(
      (await countLiveSagas(pool, options)).flatMap(({ stage, count }) => (count === 0 ? [] : [[stage, count]])),
    );
  expect(await counted({})).toEqual({ STARTED: 2, WAITING: 3 });
  expect(await counted({ tenant: "default" })).toEqual({ STARTED: 2, WAITING: 3 });
  expect(await counted({ tenant: "another" })).toEqual({});
  expect(await counted({ most: 1 })).toEqual({ STARTED: 2, WAITING: 1 });
});

test("two saves of the same sagas in opposite orders do not wait for each other", async () => {
  await wait(500);
  for (let round = 0; round < 10; round += 1) {
    await pool.query("update saga set wakeup_time = clock_timestamp()");
    const sagas = await claimFirst(pool, lane("any process"), 500);
    const saved = await Promise.all([saveSagas(pool, sagas), saveSagas(pool, sagas.toReversed())]);
    expect(saved.map((ids) => ids.size).sort((a, b) => a - b)).toEqual([0, 500]);
  }
});
