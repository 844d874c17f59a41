/** The proxy does to connections what it says, against real sockets and a real Postgres. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { expect, inject, onTestFinished, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { findFreePort } from "../support/freePort.ts";
import { type LinkProxy, openProxy, type ProxyOptions, type Target } from "./proxy.ts";

async function freeTarget(): Promise<{ host: string; port: number }> {
  return { host: "127.0.0.1", port: await findFreePort() };
}

async function startProxy(options: Omit<ProxyOptions, "listen">, listen?: Target): Promise<LinkProxy> {
  const proxy = await openProxy({ ...options, listen: listen ?? (await freeTarget()) });
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Gives back what it is sent, with a word before it. */
async function startEcho(word: string, listen?: Target): Promise<Target> {
  const target = listen ?? (await freeTarget());
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => socket.write(`${word}:${data}`));
    socket.on("end", () => socket.end("bye"));
  }).listen(target);
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return target;
}

interface Caller {
  readonly socket: Socket;
  heard(): string;
  failure(): string;
}

function call(target: Target): Caller {
  const socket = connect({ ...target, allowHalfOpen: true } as Parameters<typeof connect>[0] & object);
  let heard = "";
  let failure = "";
  socket.on("data", (data) => (heard += data));
  socket.on("error", (error: NodeJS.ErrnoException) => (failure = error.code ?? ""));
  onTestFinished(() => void socket.destroy());
  return { socket, heard: () => heard, failure: () => failure };
}

test("it passes bytes both ways, and the end of one side while the other goes on", async () => {
  const proxy = await startProxy({ targets: [await startEcho("a")] });
  const caller = call(proxy.listen);
  caller.socket.write("one");
  await eventually(() => expect(caller.heard()).toBe("a:one"));
  caller.socket.end();
  await eventually(() => expect(caller.heard()).toBe("a:onebye"));
});

test("it goes through unix sockets too", async () => {
  const directory = await mkdtemp(join(tmpdir(), "capstan-proxy-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const targets = [await startEcho("u", { path: join(directory, "echo.sock") })];
  const proxy = await startProxy({ targets }, { path: join(directory, "proxy.sock") });
  const caller = call(proxy.listen);
  caller.socket.write("one");
  await eventually(() => expect(caller.heard()).toBe("u:one"));
});

test("of several targets it passes over one that refuses", async () => {
  const proxy = await startProxy({ targets: [await freeTarget(), await startEcho("b")] });
  for (let round = 0; round < 3; round++) {
    const caller = call(proxy.listen);
    caller.socket.write("x");
    await eventually(() => expect(caller.heard()).toBe("b:x"));
  }
});

test("a delayed link keeps the order of what it carries", async () => {
  const proxy = await startProxy({ targets: [await startEcho("")] });
  proxy.delay(20, 20);
  const caller = call(proxy.listen);
  const before = performance.now();
  for (let round = 0; round < 20; round++) caller.socket.write(`${round},`);
  await eventually(() => expect(caller.heard().replaceAll(":", "")).toMatch(/19,$/));
  expect(performance.now() - before).toBeGreaterThan(40);
  const numbers = caller.heard().replaceAll(":", "").split(",").slice(0, -1).map(Number);
  expect(numbers).toEqual(Array.from({ length: 20 }, (_, at) => at));
});

test("a link that is half open tells nobody, and hands over what it held back when it is healed", async () => {
  const proxy = await startProxy({ targets: [await startEcho("a")] });
  const caller = call(proxy.listen);
  caller.socket.write("one");
  await eventually(() => expect(caller.heard()).toBe("a:one"));
  proxy.stall("replies");
  caller.socket.write("two");
  await eventually(() => expect(proxy.counts.late).toBe(1));
  expect(caller.heard()).toBe("a:one");
  expect(caller.failure()).toBe("");
  proxy.heal();
  await eventually(() => expect(caller.heard()).toBe("a:onea:two"));
});

test("a link that is cut off resets those too who are just being connected", async () => {
  const proxy = await startProxy({ targets: [await startEcho("a")] });
  const callers = Array.from({ length: 50 }, () => call(proxy.listen));
  while (proxy.counts.connections === 0) await new Promise(setImmediate);
  proxy.refuse();
  await eventually(() => expect(new Set(callers.map((caller) => caller.failure()))).toEqual(new Set(["ECONNRESET"])));
});

test("a link that is cut off resets what is connected and what comes, until it is healed", async () => {
  const proxy = await startProxy({ targets: [await startEcho("a")] });
  const before = call(proxy.listen);
  before.socket.write("one");
  await eventually(() => expect(before.heard()).toBe("a:one"));
  proxy.refuse();
  await eventually(() => expect(before.failure()).toBe("ECONNRESET"));
  const during = call(proxy.listen);
  await eventually(() => expect(during.failure()).toBe("ECONNRESET"));
  proxy.heal();
  const after = call(proxy.listen);
  after.socket.write("x");
  await eventually(() => expect(after.heard()).toBe("a:x"));
});

test("a reply to a commit is cut: the client sees an error, and what it wrote is there", async () => {
  const url = new URL(inject("postgresUrl"));
  const targets = [{ host: url.hostname, port: Number(url.port) }];
  const proxy = await startProxy({ targets, speaks: "postgres" });
  const through = new URL(url.href);
  through.port = String((proxy.listen as { port: number }).port);
  const table = `cut_${Date.now()}`;
  await queryOnce(url.href, `create table ${table} (n int)`);
  onTestFinished(async () => void (await queryOnce(url.href, `drop table ${table}`)));
  const write = async (n: number, statements: (client: Client) => Promise<unknown>) => {
    const client = new Client({ connectionString: through.href });
    client.on("error", () => {});
    await client.connect();
    await client.query("select 1");
    proxy.cutCommits(1);
    await expect(statements(client)).rejects.toThrow();
    expect(proxy.counts.cutReplies).toBe(n);
    await client.end().catch(() => {});
  };
  await write(1, (client) => client.query(`insert into ${table} values ($1)`, [1]));
  await write(2, async (client) => {
    await client.query("begin");
    await client.query(`insert into ${table} values (2)`);
    await client.query("commit");
  });
  expect(await queryOnce(url.href, `select n from ${table} order by n`)).toEqual([{ n: 1 }, { n: 2 }]);
});
