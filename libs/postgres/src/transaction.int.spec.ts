import type { Pool } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type LinkProxy, openProxy } from "../../../test/chaos/proxy.ts";
import { createTestDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { findFreePort } from "../../../test/support/freePort.ts";
import { openPool } from "./pool.ts";
import { awaitWithCommit, inTransaction } from "./transaction.ts";

let database: TestDatabase;
let proxy: LinkProxy;
let pool: Pool;

beforeEach(async () => {
  database = await createTestDatabase("job");
  const url = new URL(database.url);
  const listen = { host: url.hostname, port: await findFreePort() };
  proxy = await openProxy({ targets: [{ host: url.hostname, port: Number(url.port) }], listen });
  url.port = String(listen.port);
  pool = openPool({ url: url.href, schema: "job", log: createTestLog(), max: 1 });
  await pool.query("create table note (text text unique)");
});

afterEach(async () => {
  await pool.end();
  await proxy.close();
  await database.drop();
});

const insert = (text: string) => ({ text: "insert into note values ($1)", values: [text] });
const kept = async () => (await pool.query<{ text: string }>("select text from note")).rows.map(({ text }) => text);

test("a transaction of two statements, the second of which nobody waits for, goes to the server in two packets", async () => {
  const before = proxy.counts.requests;

  await inTransaction(pool, async (db) => {
    await db.query(insert("first"));
    await awaitWithCommit(db, db.query(insert("last")));
  });

  expect(proxy.counts.requests - before).toBe(2);
  expect(await kept()).toEqual(["first", "last"]);
});

test("a transaction whose last statement fails commits nothing and throws why", async () => {
  await pool.query(insert("taken"));

  const failing = inTransaction(pool, async (db) => {
    await db.query(insert("first"));
    await awaitWithCommit(db, db.query(insert("taken")));
  });

  await expect(failing).rejects.toMatchObject({ code: "23505" });
  expect(await kept()).toEqual(["taken"]);
});

test("a statement after one that failed unawaited does not hide why it did", async () => {
  await pool.query(insert("taken"));

  const failing = inTransaction(pool, async (db) => {
    await awaitWithCommit(db, db.query(insert("taken")));
    await db.query(insert("after"));
  });

  await expect(failing).rejects.toMatchObject({ code: "23505" });
  expect(await kept()).toEqual(["taken"]);
});

test("outside of a transaction a statement is waited for at once", async () => {
  await pool.query(insert("taken"));

  await expect(awaitWithCommit(pool, pool.query(insert("taken")))).rejects.toMatchObject({ code: "23505" });
});
