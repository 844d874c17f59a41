/**
 * A real server (Postgres, NATS) as a child process that never outlives us. It runs in a session of its own, because a Ctrl-C in
 * the terminal must not stop the database before the services that still drain. Beside it a shell waits on a pipe from us; when
 * we end in any way, kill -9 included, the pipe closes and the shell stops the server.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { forgetOwner, recordOwner } from "./embeddedOwner.ts";

// The shell that waits is started through a subshell that ends at once: Postgres treats a child it did not fork as crashed,
// so that the waiting shell must not be the server's child. "bye" on the pipe means: the server has ended, signal nobody.
const tiedToParent = '( (read -r _ <&3 || kill -s "$0" $$) >/dev/null 2>&1 & ); exec 3<&-; exec "$@"';

const maxLogBytes = 4 * 1024 * 1024;

interface ServerCommand {
  /** As people call it, for messages. */
  readonly name: string;
  /** Holds all that belongs to the server; exists only for it. */
  readonly directory: string;
  /** Must contain the directory, by which a server that outlived its owner is recognised. */
  readonly command: readonly string[];
  /** The signal on which it stops in order, without SIG. */
  readonly stopSignal: "INT" | "TERM";
  /** OS user to run as; null: ours. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  readonly isReady: (pid: number) => Promise<boolean>;
}

/** What a start gives back, of either server. */
export interface EmbeddedServer {
  readonly url: string;
  readonly port: number;
  /** Of the server's process, for tests that kill it. */
  readonly pid: number;
  stop(): Promise<void>;
}

interface RunningServer {
  readonly pid: number;
  /** Asks it to stop, kills it after 10 s; done when it has ended. */
  stop(): Promise<void>;
}

/** Thrown when a server ends while it starts; `log` is what it wrote since. */
export class ServerStartError extends Error {
  readonly log: string;
  constructor(name: string, code: number | null, log: string) {
    super(`${name} did not start (exit code ${code}): ${log.trim().split("\n").slice(-5).join(" | ")}`);
    this.log = log;
  }
}

/** Starts the server and waits until it is ready, at most 30 s (recovery after a crash included). */
export async function startServer(server: ServerCommand): Promise<RunningServer> {
  await mkdir(server.directory, { recursive: true });
  const logFile = join(server.directory, "server.log");
  const logSize = (await stat(logFile).catch(() => null))?.size ?? 0;
  const log = await open(logFile, logSize > maxLogBytes ? "w" : "a");
  const logStart = logSize > maxLogBytes ? 0 : logSize;
  const child = spawn("/bin/sh", ["-c", tiedToParent, server.stopSignal, ...server.command], {
    detached: true,
    stdio: ["ignore", log.fd, log.fd, "pipe"],
    env: { ...process.env, LC_ALL: "C" },
    ...(server.user ?? {}),
  });
  await log.close();
  const ended = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  const pipe = child.stdio[3] as NodeJS.WritableStream & { destroy(): void };
  pipe.on("error", () => {}); // the shell may be gone before it reads our bye
  void ended.then(() => pipe.end("bye\n"));
  try {
    if (child.pid === undefined) throw new Error(`${server.name} could not be started`);
    await recordOwner(server.directory, child.pid);
    await waitUntilReady(server, child.pid, () => child.exitCode !== null || child.signalCode !== null);
    return { pid: child.pid, stop: () => stopChild(child, server, ended) };
  } catch (error) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    await stopChild(child, server, ended);
    if (!hasEnded) throw error;
    throw new ServerStartError(server.name, child.exitCode, (await readFile(logFile, "utf8")).slice(logStart));
  }
}

async function waitUntilReady(server: ServerCommand, pid: number, hasEnded: () => boolean): Promise<void> {
  const giveUp = Date.now() + 30_000;
  while (!(await server.isReady(pid))) {
    if (hasEnded()) throw new Error(`${server.name} ended while it started`);
    if (Date.now() > giveUp) throw new Error(`${server.name} was not ready after 30 s`);
    await sleep(10);
  }
}

async function stopChild(child: ChildProcess, server: ServerCommand, ended: Promise<void>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(`SIG${server.stopSignal}`);
    const kill = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(kill);
  }
  await forgetOwner(server.directory);
}
