import type { Pool } from "pg";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { exampleFact, exampleFacts } from "../../../test/support/facts.ts";
import type { Db } from "./db.ts";
import { appendFacts, listFacts, requeueFacts, requeueTerminalFacts } from "./facts.ts";
import { openPool } from "./pool.ts";
import { inTransaction } from "./transaction.ts";
import { uuidv7 } from "./uuid.ts";

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createMigratedDatabase("job");
  pool = openPool({ url: database.url, schema: "job", log: createTestLog() });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

beforeEach(() => pool.query("truncate event, outbox"));

test("facts come back as they were written, with the database's time and their context", async () => {
  const fact = exampleFact({
    correlationId: uuidv7(),
    causationId: uuidv7(),
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    isTerminal: true,
  });
  const before = Date.now();
  await appendFacts(pool, [fact]);
  const [stored] = await listFacts(pool, fact.aggregateId, 0, 10);
  const { data, ...rest } = fact;
  expect(stored).toMatchObject({ ...rest, context: "job", json: JSON.stringify(data) });
  expect(Math.abs((stored?.time.getTime() ?? 0) - before)).toBeLessThan(5_000);
});

test("facts are read in order, after a sequence, up to a limit", async () => {
  const id = uuidv7();
  await appendFacts(pool, exampleFacts(id, 5));
  const page = await listFacts(pool, id, 2, 2);
  expect(page.map((fact) => fact.sequence)).toEqual([3, 4]);
});

test("many facts are one statement", async () => {
  const statements: unknown[] = [];
  const counting: Db = {
    query: (statement) => {
      statements.push(statement);
      return pool.query(statement);
    },
  };
  await appendFacts(counting, [...exampleFacts(uuidv7(), 100), ...exampleFacts(uuidv7(), 100)]);
  expect(statements).toHaveLength(1);
  const { rows } = await pool.query(
    "select (select count(*) from event) as events, (select sum(cardinality(sequences)) from outbox) as listed",
  );
  expect(rows).toEqual([{ events: 200, listed: 200 }]);
});

test("no facts are no statement", async () => {
  await appendFacts({ query: () => expect.unreachable() }, []);
});

test("the database refuses a second terminal fact of an aggregate", async () => {
  const aggregateId = uuidv7();
  await appendFacts(pool, [exampleFact({ aggregateId, isTerminal: true })]);
  const second = exampleFact({ aggregateId, sequence: 2, isTerminal: true });
  await expect(appendFacts(pool, [second])).rejects.toMatchObject({ code: "23505", constraint: "one_terminal_fact" });
});

test("the database refuses a sequence that is taken, and then nothing of the transaction stays", async () => {
  const aggregateId = uuidv7();
  await appendFacts(pool, [exampleFact({ aggregateId })]);
  const other = exampleFact();
  const twice = inTransaction(pool, async (db) => {
    await appendFacts(db, [other]);
    await appendFacts(db, [exampleFact({ aggregateId })]);
  });
  await expect(twice).rejects.toMatchObject({ code: "23505" });
  expect(await listFacts(pool, other.aggregateId, 0, 10)).toEqual([]);
});

test("a fact that is too large for a message is refused before it is written", async () => {
  await expect(appendFacts(pool, [exampleFact({ data: { text: "x".repeat(500_000) } })])).rejects.toThrow(
    /larger than/,
  );
});

test("facts listed again are those since a time, each of them once", async () => {
  const [old, young] = [exampleFact(), exampleFact()];
  await appendFacts(pool, [old]);
  await queryOnce(database.adminUrl, "update job.event set time = time - interval '1 hour'");
  await appendFacts(pool, [young]);
  await pool.query("delete from outbox");
  expect(await requeueFacts(pool, new Date(Date.now() - 60_000))).toBe(1);
  expect(await requeueFacts(pool, null)).toBe(1);
  expect(await requeueFacts(pool, null)).toBe(0);
});

test("the end of an aggregate is listed again, and nothing else of it", async () => {
  const [first, second] = [exampleFact({ sequence: 1 }), exampleFact({ sequence: 2, isTerminal: true })];
  const live = exampleFact();
  await appendFacts(pool, [first, { ...second, aggregateId: first.aggregateId }, live]);
  await pool.query("truncate outbox");
  const ids = [first.aggregateId, live.aggregateId, uuidv7()];
  expect(await requeueTerminalFacts(pool, ids)).toBe(1);
  const { rows } = await pool.query("select aggregate_ids, sequences from outbox");
  expect(rows).toEqual([{ aggregate_ids: [first.aggregateId], sequences: [2] }]);
  expect(await requeueTerminalFacts(pool, [live.aggregateId])).toBe(0);
});
