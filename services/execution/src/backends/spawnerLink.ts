/**
 * Starts a spawner and talks with it. One link is one life of one spawner: when it breaks, everything it ran is lost.
 *
 * Where this machine lets us, the spawner gets a pid namespace of its own, below a shell that only collects orphans. Then the
 * kernel itself sees to it that nothing outlives it, and a workload sees, and can signal, no process but the executions'.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BackendUnavailable } from "./backend.ts";
import { frame, frameReader, frameWriter, PING, READY } from "./spawnerFrames.ts";

const run = promisify(execFile);
const SPAWNER = fileURLToPath(new URL("spawner.ts", import.meta.url));
/** Half the memory of a default heap: every fork copies the page tables of what is touched. */
const NODE_FLAGS = ["--single-threaded", "--max-semi-space-size=1", "--max-old-space-size=128"];
const CONTAIN = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child=SIGKILL", "--"];
/**
 * As process 1 a shell collects the orphans that end; without the `exit` it would make way for the spawner, which does not.
 * What the shell itself has to say (that it was killed) interests nobody.
 */
const INIT = ["sh", "-c", 'exec 4>&2 2>/dev/null; (exec "$@" 2>&4 4>&-); exit $?', "sh"];
const READY_WITHIN_MS = 10_000;
const LEAVE_WITHIN_MS = 10_000;
/** A spawner that says nothing between so many pings hangs, and all it runs with it. */
const UNANSWERED_PINGS = 3;

export interface SpawnerLink {
  /** The spawner's process (or that of the namespace it lives in), for operators and tests. */
  readonly pid: number;
  readonly isContained: boolean;
  send(frame: readonly Uint8Array[]): void;
  /** Resolves when the spawner has gone, by itself or not. */
  readonly gone: Promise<void>;
  /** Tells the spawner to kill everything and leave. */
  close(): Promise<void>;
}

interface SpawnerLinkOptions {
  /** Holds `pipes/` and `work/`; the backend's alone. */
  readonly directory: string;
  /** For what Node compiled, see {@link compileSpawner}; may be shared. */
  readonly cacheDirectory: string;
  readonly runner: string;
  readonly isContained: boolean;
  /** Between two pings. */
  readonly pingMs: number;
  readonly onFrame: (kind: number, number: number, body: Buffer) => void;
}

/** Whether this machine lets us make pid namespaces (Linux, root or CAP_SYS_ADMIN, `unshare` of util-linux). */
export async function canContain(): Promise<boolean> {
  const [file = "", ...args] = CONTAIN;
  return run(file, [...args, "true"], { timeout: READY_WITHIN_MS }).then(
    () => true,
    () => false,
  );
}

/**
 * Compiles the spawner into the cache, in a process that ends at once. A spawner that has to compile itself keeps the compiler
 * in its memory, and every fork pays for it (measured: 21 instead of 10 MiB, a sixth fewer spawns a second).
 */
export async function compileSpawner(cacheDirectory: string): Promise<void> {
  await run(process.execPath, [...NODE_FLAGS, SPAWNER, "compile"], { env: spawnerEnvironment(cacheDirectory) });
}

/** Nothing of our own environment: workloads of the same user could read it there. */
function spawnerEnvironment(cacheDirectory: string): NodeJS.ProcessEnv {
  const { PATH = "" } = process.env;
  return { PATH, NODE_COMPILE_CACHE: cacheDirectory };
}

/** Starts a spawner and waits until it is ready. */
export async function openSpawnerLink(options: SpawnerLinkOptions): Promise<SpawnerLink> {
  const { directory, cacheDirectory, runner, isContained, pingMs, onFrame } = options;
  const [file = "", ...args] = [
    ...(isContained ? [...CONTAIN, ...INIT] : []),
    process.execPath,
    ...NODE_FLAGS,
    SPAWNER,
    directory,
    runner,
    isContained ? "contained" : "open",
  ];
  const child = spawn(file, args, {
    env: spawnerEnvironment(cacheDirectory),
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const socket = child.stdio[3] as Socket;
  const gone = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  let unanswered = 0;
  await new Promise<void>((resolve, reject) => {
    const refuse = () => reject(new BackendUnavailable("the process spawner did not start"));
    const timer = setTimeout(refuse, READY_WITHIN_MS);
    void gone.then(refuse);
    socket.on(
      "data",
      frameReader((kind, number, body) => {
        unanswered = 0;
        if (kind !== READY) return onFrame(kind, number, body);
        clearTimeout(timer);
        resolve();
      }),
    );
    socket.on("error", () => socket.destroy());
  }).catch((error: unknown) => {
    child.kill("SIGKILL");
    throw error;
  });
  const send = frameWriter(socket);
  const pings = setInterval(() => {
    if (unanswered === UNANSWERED_PINGS) child.kill("SIGKILL");
    unanswered += 1;
    send(frame(PING, 0));
  }, pingMs).unref();
  void gone.then(() => clearInterval(pings));
  return {
    pid: child.pid as number,
    isContained,
    send,
    gone,
    close: () => leave(child, socket, gone),
  };
}

async function leave(child: ChildProcess, socket: Socket, gone: Promise<void>): Promise<void> {
  socket.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), LEAVE_WITHIN_MS);
  await gone;
  clearTimeout(timer);
}
