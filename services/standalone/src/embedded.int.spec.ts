/** The embedded servers through everything that may happen to them and to their owner. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startEmbeddedNats } from "./embeddedNats.ts";
import { describeServer } from "./embeddedOwner.ts";
import { startEmbeddedPostgres } from "./embeddedPostgres.ts";

let directory: string;
let stops: (() => Promise<void>)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "capstan-embedded-")); // mode 0700, as a careful user would make it
  stops = [];
});

afterEach(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await rm(directory, { recursive: true, force: true });
});

const starts = {
  postgres: (port: number) => startEmbeddedPostgres({ directory: join(directory, "postgres"), port }),
  nats: (port: number) => startEmbeddedNats({ directory: join(directory, "nats"), port }),
} as const;
type Kind = keyof typeof starts;
const kinds = Object.keys(starts) as Kind[];

async function start(kind: Kind, port = 0) {
  const server = await starts[kind](port);
  stops.push(server.stop);
  return server;
}

/** Starts the server from a process of its own, and gives back that process. */
async function startElsewhere(kind: Kind, port: number) {
  const module = new URL(`./embedded${kind === "nats" ? "Nats" : "Postgres"}.ts`, import.meta.url).href;
  const code = `const m = await import(${JSON.stringify(module)});
    const server = await Object.values(m)[0]({ directory: ${JSON.stringify(join(directory, kind))}, port: ${port} });
    console.log(JSON.stringify(server)); setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(owner.stdout, "data")) as [Buffer];
  return { owner, server: JSON.parse(line.toString()) as { port: number; pid: number; url: string } };
}

/** A process that ended is a zombie where process 1 reaps nobody, so that `kill(pid, 0)` would not tell. */
async function isAlive(pid: number): Promise<boolean> {
  return (await describeServer(pid, directory)) !== null;
}

/** Kills the shell that would stop the server together with its owner. */
async function killItsShell(): Promise<void> {
  const { stdout } = await promisify(execFile)("pgrep", ["-f", `^/bin/sh -c .*${directory}`]);
  for (const pid of stdout.trim().split("\n")) process.kill(Number(pid), "SIGKILL");
}

test("Postgres keeps its data over a restart, and restarts within two seconds on the same port", async () => {
  const first = await start("postgres");
  await queryOnce(first.url, "create table kept as select 1 as n");
  await first.stop();
  const before = performance.now();
  const second = await start("postgres", first.port);
  expect(performance.now() - before).toBeLessThan(2_000);
  expect(second.url).toBe(first.url);
  expect(await queryOnce(second.url, "select n from kept")).toEqual([{ n: 1 }]);
});

test("Postgres commits to disk", async () => {
  const { url } = await start("postgres");
  const shown = await queryOnce(
    url,
    `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
            current_setting('data_checksums') as checksums, current_setting('listen_addresses') as listen`,
  );
  expect(shown).toEqual([{ fsync: "on", commit: "on", checksums: "on", listen: "127.0.0.1" }]);
});

test("Postgres starts after its server was killed, even when another process has the id it left behind", async () => {
  const first = await start("postgres");
  await queryOnce(first.url, "create table kept as select 1 as n");
  process.kill(first.pid, "SIGKILL");
  await eventually(async () => expect(await isAlive(first.pid)).toBe(false));
  const pidFile = join(directory, "postgres", "data", "postmaster.pid");
  const lines = (await readFile(pidFile, "utf8")).split("\n");
  await writeFile(pidFile, [String(process.ppid), ...lines.slice(1)].join("\n"));
  const second = await start("postgres", first.port);
  expect(await queryOnce(second.url, "select n from kept")).toEqual([{ n: 1 }]);
});

test.each(kinds)("%s is stopped when its owner is killed, and starts again at once", async (kind) => {
  const { owner, server } = await startElsewhere(kind, 0);
  owner.kill("SIGKILL");
  await once(owner, "exit");
  const next = await start(kind, server.port);
  expect(next.pid).not.toBe(server.pid);
  expect(await isAlive(server.pid)).toBe(false);
});

test.each(kinds)("%s that outlived its owner is stopped by the next start", async (kind) => {
  const { owner, server } = await startElsewhere(kind, 0);
  await killItsShell();
  owner.kill("SIGKILL");
  await once(owner, "exit");
  const next = await start(kind, server.port);
  expect(next.port).toBe(server.port);
  expect(await isAlive(server.pid)).toBe(false);
});

test.each(kinds)("%s refuses a second start on its directory while the first lives", async (kind) => {
  const first = await start(kind);
  await expect(start(kind)).rejects.toMatchObject({ reason: "DATA_DIRECTORY_IN_USE" });
  expect(await isAlive(first.pid)).toBe(true);
});

test.each(kinds)("%s names the port that is taken", async (kind) => {
  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  const { port } = holder.address() as { port: number };
  await expect(start(kind, port)).rejects.toMatchObject({
    reason: "ADDRESS_IN_USE",
    message: expect.stringContaining(String(port)),
  });
  holder.close();
});

test("a server that cannot start says why", async () => {
  const server = startEmbeddedPostgres({ directory: join(directory, "p"), port: 0, settings: { shared_buffers: "x" } });
  await expect(server).rejects.toThrow(/invalid value for parameter "shared_buffers"/);
});

test("Postgres starts in a directory that only its owner may enter", async () => {
  await chmod(directory, 0o700);
  const { url } = await start("postgres");
  expect(await queryOnce(url, "select 1 as n")).toEqual([{ n: 1 }]);
});
