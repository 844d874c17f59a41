import { randomUUID } from "node:crypto";
import { openPool, type Pool } from "@capstan/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { addChunks, listChunks } from "./logStore.ts";
import { createLogWriter } from "./logWriter.ts";
import { createWakes } from "./wakes.ts";

const log = createTestLog();
const wakes = createWakes();
let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createMigratedDatabase("execution", new URL("../migrations/", import.meta.url));
  pool = openPool({ url: database.url, schema: "execution", log });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

async function addExecution(fence = 1): Promise<string> {
  const id = randomUUID();
  await pool.query(
    `insert into execution (id, tenant, job_id, step, attempt, provider_id, kind, state, lease_owner, fence)
     values ($1, 'default', $1, 'main', 1, $1, 'PROCESS', 'STARTING', $1, $2)`,
    [id, fence],
  );
  return id;
}

test("while nothing can be stored memory is bounded: the writer is held back, and goes on when there is room", async () => {
  const writer = createLogWriter({ db: pool, capBytes: 2 ** 30, wakes, log });
  const id = await addExecution();
  const execution = writer.open(id, 1);
  const blocker = await pool.connect();
  await blocker.query("begin");
  await blocker.query("lock table log_chunk in access exclusive mode");
  const piece = Buffer.alloc(1024 * 1024, "x");
  let written = 0;
  const waits: Promise<void>[] = [];
  for (; waits.length === 0 && written < 64; written++) {
    const wait = execution.write("stdout", piece);
    if (wait instanceof Promise) waits.push(wait);
  }
  expect(written).toBe(8);
  await blocker.query("rollback");
  blocker.release();
  await Promise.all(waits);
  await writer.flush();
  const { rest, totals } = await execution.close(false);
  expect(rest).toEqual([]);
  expect(totals.stdoutBytes).toBe(8 * 1024 * 1024);
  const { rows } = await pool.query(
    "select sum(length(data))::int as bytes, max(length(data)) as longest from log_chunk",
  );
  expect(rows).toEqual([{ bytes: 8 * 1024 * 1024, longest: 64 * 1024 }]);
});

test("chunks of an old fence are left out, those of the present one are stored once", async () => {
  const id = await addExecution(2);
  const chunk = { executionId: id, sequence: 1, stream: "stdout", offset: 0 } as const;
  await addChunks(pool, [{ ...chunk, fence: 1, data: Buffer.from("late") }]);
  expect(await listChunks(pool, id, 0, 10)).toEqual([]);
  await addChunks(pool, [{ ...chunk, fence: 2, data: Buffer.from("mine") }]);
  await addChunks(pool, [{ ...chunk, fence: 2, data: Buffer.from("again") }]);
  const stored = await listChunks(pool, id, 0, 10);
  expect(stored.map(({ data }) => data.toString())).toEqual(["mine"]);
});

test("a log that is closed gives back what is not stored, behind what is", async () => {
  const writer = createLogWriter({ db: pool, capBytes: 2 ** 20, wakes, log });
  const id = await addExecution();
  const execution = writer.open(id, 1);
  void execution.write("stdout", Buffer.from("one "));
  void execution.write("stdout", Buffer.from("two"));
  void execution.write("stderr", Buffer.from("three"));
  const stored = writer.flush();
  void execution.write("stdout", Buffer.from("four"));
  const { rest } = await execution.close(false);
  expect(rest).toMatchObject([{ sequence: 3, stream: "stdout", offset: 7, data: Buffer.from("four") }]);
  // What was in flight when it was closed is there by now.
  const chunks = await listChunks(pool, id, 0, 10);
  expect(chunks.map(({ data }) => data.toString())).toEqual(["one two", "three"]);
  await stored;
});
