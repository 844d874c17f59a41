import type { Pool } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createTestDatabase, createTestLog, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { openPool } from "./pool.ts";
import { inTransaction } from "./transaction.ts";

let database: TestDatabase;
let pool: Pool;
const log = createTestLog();

beforeEach(async () => {
  database = await createTestDatabase("job");
  pool = openPool({ url: database.url, schema: "job", log, max: 2 });
  await pool.query("create table note (text text unique)");
});

afterEach(async () => {
  await pool.end();
  await database.drop();
});

async function cutAllConnections(): Promise<void> {
  await queryOnce(
    database.adminUrl,
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
}

test("big numbers are read as numbers, times as dates, json as values", async () => {
  const { rows } = await pool.query(
    "select 9007199254740991::bigint as big, 1.5::numeric as num, '{\"a\":1}'::json as json, now() as time",
  );
  expect(rows[0]).toEqual({ big: 9007199254740991, num: 1.5, json: { a: 1 }, time: expect.any(Date) });
});

test("a connection is set to its schema and to the limits of a service", async () => {
  const { rows } = await pool.query(
    `select current_schema() as schema, current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
            current_setting('idle_in_transaction_session_timeout') as idle, current_setting('application_name') as name`,
  );
  expect(rows).toEqual([{ schema: "job", statement: "10s", lock: "3s", idle: "15s", name: "capstan-job" }]);
});

test("a transaction commits what was done, and nothing when its work throws", async () => {
  await inTransaction(pool, (db) => db.query("insert into note values ('kept')"));
  const failing = inTransaction(pool, async (db) => {
    await db.query("insert into note values ('gone')");
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  expect((await pool.query("select text from note")).rows).toEqual([{ text: "kept" }]);
});

test("a transaction in which a statement failed unnoticed is not taken for committed", async () => {
  const careless = inTransaction(pool, async (db) => {
    await db.query("insert into note values ('a')");
    await db.query("insert into note values ('a')").catch(() => {});
  });
  await expect(careless).rejects.toThrow(/nothing was committed/);
});

test("connections that are cut while idle do not end the process, and new ones are made", async () => {
  await Promise.all([pool.query("select 1"), pool.query("select 1")]);
  await cutAllConnections();
  await eventually(async () => expect((await pool.query("select 1 as n")).rows).toEqual([{ n: 1 }]));
});

test("a connection that is cut in a transaction fails that, does not end the process, and is not used again", async () => {
  const cut = inTransaction(pool, async (db) => {
    await db.query("insert into note values ('lost')");
    await cutAllConnections();
    await db.query("select 1");
  });
  await expect(cut).rejects.toThrow();
  expect((await pool.query("select text from note")).rows).toEqual([]);
});

test("a connection that is cut between the statements of a transaction does not end the process", async () => {
  const cut = inTransaction(pool, async (db) => {
    await db.query("insert into note values ('lost')");
    await cutAllConnections();
    await eventually(async () => {
      const [row] = await queryOnce(
        database.adminUrl,
        "select count(*)::int as n from pg_stat_activity where usename = 'capstan_job' and datname = current_database()",
      );
      expect(row).toEqual({ n: 0 });
    });
  });
  await expect(cut).rejects.toThrow();
});

test("connections that failed are given back: a pool of two serves after twenty failures", async () => {
  const fail = () => inTransaction(pool, (db) => db.query("select nonsense"));
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, fail));
  expect(outcomes.filter((outcome) => outcome.status === "rejected")).toHaveLength(20);
  expect((await pool.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  expect(pool.totalCount).toBeLessThanOrEqual(2);
});
