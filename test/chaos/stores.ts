/** Postgres and NATS with all that may happen to them: killed, frozen, without disk, wiped. Real servers, only ours. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { startEmbeddedNats } from "../../services/standalone/src/embeddedNats.ts";
import { startEmbeddedPostgres } from "../../services/standalone/src/embeddedPostgres.ts";
import type { EmbeddedServer } from "../../services/standalone/src/embeddedServer.ts";
import { findFreePort } from "../support/freePort.ts";
import { type Disk, mountDisk } from "./disk.ts";

export interface Store {
  readonly name: "Postgres" | "NATS";
  readonly url: string;
  readonly port: number;
  /** Where the server keeps everything. */
  readonly directory: string;
  /** Null, with the reason, where a small disk cannot be had. */
  readonly disk: Disk | null;
  readonly whyNoDisk: string;
  kill(): Promise<void>;
  /** In order. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Freezes it with all its processes; nobody's connection is closed. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Ends it and forgets all it stored. */
  wipe(): Promise<void>;
  /** False when the server has ended, by whatever. */
  isAlive(): Promise<boolean>;
  /** Stops it, and takes its disk away. */
  release(): Promise<void>;
}

/** Checkpoints at a size that a small disk holds, so that its log goes round. */
const postgresSettings = { max_connections: "300", max_wal_size: "256MB", shared_buffers: "256MB" };

export async function startPostgres(directory: string): Promise<Store> {
  const port = await findFreePort();
  return openStore("Postgres", directory, 4_096, (at) =>
    startEmbeddedPostgres({ directory: at, port, settings: postgresSettings }),
  );
}

export async function startNats(directory: string): Promise<Store> {
  const port = await findFreePort();
  return openStore("NATS", directory, 4_096, (at) => startEmbeddedNats({ directory: at, port }));
}

async function openStore(
  name: Store["name"],
  mountPoint: string,
  sizeMib: number,
  startServer: (directory: string) => Promise<EmbeddedServer>,
): Promise<Store> {
  let whyNoDisk = "";
  const disk = await mountDisk(mountPoint, sizeMib).catch((error: Error) => {
    whyNoDisk = error.message.trim();
    return null;
  });
  const directory = join(mountPoint, "server");
  let server = await startServer(directory);
  let frozen: readonly number[] = [];

  async function thaw(): Promise<void> {
    for (const pid of frozen) signal(pid, "SIGCONT");
    frozen = [];
  }
  async function stop(): Promise<void> {
    await thaw();
    await server.stop();
  }

  return {
    name,
    url: server.url,
    port: server.port,
    directory,
    disk,
    whyNoDisk,
    kill: async () => {
      signal(server.pid, "SIGKILL");
      await server.stop();
    },
    stop,
    start: async () => {
      server = await startServer(directory);
    },
    freeze: async () => {
      frozen = [server.pid, ...(await childrenOf(server.pid))];
      for (const pid of frozen) signal(pid, "SIGSTOP");
    },
    thaw,
    wipe: async () => {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
    isAlive: async () => (await statOf(server.pid))?.isDead === false,
    release: async () => {
      await stop();
      await disk?.remove();
    },
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function childrenOf(parent: number): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const stats = await Promise.all(pids.map(async (pid) => ({ pid, stat: await statOf(pid) })));
  return stats.filter(({ stat }) => stat?.parent === parent).map(({ pid }) => pid);
}

async function statOf(pid: number): Promise<{ parent: number; isDead: boolean } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (text === null) return null;
  // The name in parentheses may hold anything; state and parent follow the last one.
  const [state = "", parent = ""] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(parent), isDead: state === "Z" || state === "X" };
}
