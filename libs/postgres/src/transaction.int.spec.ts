import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { Pool } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createTestDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { openPool } from "./pool.ts";
import { awaitWithCommit, inTransaction } from "./transaction.ts";

let database: TestDatabase;
let proxy: Awaited<ReturnType<typeof startProxy>>;
let pool: Pool;

beforeEach(async () => {
  database = await createTestDatabase("job");
  proxy = await startProxy(database.url);
  pool = openPool({ url: proxy.url, schema: "job", log: createTestLog(), max: 1 });
  await pool.query("create table note (text text unique)");
});

afterEach(async () => {
  await pool.end();
  await proxy.stop();
  await database.drop();
});

/** Hands on what comes, and counts the packets of the client. */
async function startProxy(url: string) {
  const { hostname, port } = new URL(url);
  const sockets: Socket[] = [];
  let packets = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname).setNoDelay();
    sockets.push(client.setNoDelay(), upstream);
    client.on("data", () => {
      packets += 1;
    });
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const own = new URL(url);
  const address = server.address();
  own.port = typeof address === "object" && address !== null ? String(address.port) : "";
  return {
    url: own.href,
    packets: () => packets,
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

const insert = (text: string) => ({ text: "insert into note values ($1)", values: [text] });
const kept = async () => (await pool.query<{ text: string }>("select text from note")).rows.map(({ text }) => text);

test("a transaction of two statements, the second of which nobody waits for, goes to the server in two packets", async () => {
  const before = proxy.packets();

  await inTransaction(pool, async (db) => {
    await db.query(insert("first"));
    await awaitWithCommit(db, db.query(insert("last")));
  });

  expect(proxy.packets() - before).toBe(2);
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
