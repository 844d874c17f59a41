/** One process of the platform: a replica of a service with links of its own to all it needs, or a user's worker. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { eventually } from "../support/eventually.ts";
import {
  createServiceProcess,
  type LogLine,
  type ServiceName,
  type ServiceProcess,
} from "../support/serviceProcess.ts";
import type { LinkProxy } from "./proxy.ts";

export interface Node {
  /** As people tell it from its like: `execution-2`, `worker-1`. */
  readonly label: string;
  readonly service: ServiceName | "worker";
  readonly pid: number;
  readonly log: readonly LogLine[];
  /** By what it leads to. */
  readonly links: Readonly<Record<string, LinkProxy>>;
  isRunning(): boolean;
  /** Answers when it is ready, and how long that took; null when nothing says so, as with a worker while no service answers. */
  start(): Promise<number>;
  kill(): Promise<void>;
  /** In order; gives back how long it took. */
  stop(): Promise<number>;
  freeze(): void;
  thaw(): void;
  /** How it ended without being told to; null while all is well. */
  unexpectedEnd(): string | null;
}

/** On a machine that others use too. */
const startLimitMs = 180_000;

export function createServiceNode(
  label: string,
  process: ServiceProcess,
  links: Readonly<Record<string, LinkProxy>>,
): Node {
  let isFrozen = false;
  let isRunning = false;
  /** Of the processes before this one. */
  let unexpected: string | null = null;
  const thaw = () => {
    if (isFrozen) signal(process.pid, "SIGCONT");
    isFrozen = false;
  };
  async function end(name: NodeJS.Signals): Promise<void> {
    isRunning = false;
    if (name !== "SIGKILL") thaw();
    isFrozen = false;
    await process.kill(name);
  }
  return {
    label,
    service: process.name as ServiceName,
    get pid() {
      return process.pid;
    },
    log: process.log,
    links,
    isRunning: () => isRunning && process.unexpectedEnd() === null,
    start: async () => {
      const before = performance.now();
      const beginTime = Date.now();
      const end = process.acceptEnd();
      unexpected ??= end;
      process.spawn();
      isRunning = true;
      const isReady = () =>
        process.log.some(({ msg, time }) => msg === "ready" && Date.parse(String(time)) >= beginTime);
      await eventually(() => isReady() || process.unexpectedEnd() !== null, startLimitMs);
      if (!isReady()) throw new Error(process.unexpectedEnd() ?? `${label} is not ready`);
      return performance.now() - before;
    },
    kill: () => end("SIGKILL"),
    stop: async () => {
      const before = performance.now();
      await end("SIGTERM");
      return performance.now() - before;
    },
    freeze: () => {
      isFrozen = true;
      signal(process.pid, "SIGSTOP");
    },
    thaw,
    unexpectedEnd: () => unexpected ?? process.unexpectedEnd(),
  };
}

/** A service with these links and this environment. */
export function describeService(
  label: string,
  name: ServiceName,
  at: { readonly grpcAddress: string; readonly healthAddress: string },
  env: NodeJS.ProcessEnv,
  links: Readonly<Record<string, LinkProxy>>,
): Node & { readonly process: ServiceProcess } {
  const process = createServiceProcess({ name, ...at, env });
  return Object.assign(createServiceNode(label, process, links), { process });
}

const workerProgram = fileURLToPath(new URL("./workerProgram.ts", import.meta.url));

export function createWorkerNode(
  label: string,
  args: readonly string[],
  links: Readonly<Record<string, LinkProxy>>,
): Node {
  let child: ChildProcess | null = null;
  let unexpected: string | null = null;
  let isEnding = false;
  let isFrozen = false;
  const log: LogLine[] = [];
  const hasEnded = () => child === null || child.exitCode !== null || child.signalCode !== null;

  async function end(name: NodeJS.Signals): Promise<void> {
    if (child === null || hasEnded()) return;
    isEnding = true;
    const ended = once(child, "exit");
    if (isFrozen && name !== "SIGKILL") signal(child.pid, "SIGCONT");
    isFrozen = false;
    child.kill(name);
    const killer = setTimeout(() => child?.kill("SIGKILL"), 30_000);
    await ended;
    clearTimeout(killer);
  }

  return {
    label,
    service: "worker",
    get pid() {
      return child?.pid ?? 0;
    },
    log,
    links,
    isRunning: () => !hasEnded(),
    // It connects whenever a service answers; nobody waits for that here.
    start: async () => {
      isEnding = false;
      const started = spawn(process.execPath, [workerProgram, ...args], { stdio: ["pipe", "pipe", "pipe"] });
      started.stderr.on("data", (text: Buffer) => log.push({ msg: text.toString() }));
      started.on("exit", (code, name) => {
        if (!isEnding) unexpected = `${label} ended with ${name ?? code} by itself: ${log.at(-1)?.msg ?? ""}`;
      });
      child = started;
      return 0;
    },
    kill: () => end("SIGKILL"),
    stop: async () => {
      const before = performance.now();
      await end("SIGTERM");
      return performance.now() - before;
    },
    freeze: () => {
      isFrozen = true;
      signal(child?.pid, "SIGSTOP");
    },
    thaw: () => {
      if (isFrozen) signal(child?.pid, "SIGCONT");
      isFrozen = false;
    },
    unexpectedEnd: () => unexpected,
  };
}

function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined || pid === 0) return;
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
