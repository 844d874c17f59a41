/**
 * One service as its operator runs it: an OS process of its own, with nothing in its environment but what it is given. It ends with
 * this process at the latest.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";
import { spawnTied } from "./spawnTied.ts";

/** The contexts of the platform, in the order in which they are listed everywhere. The gateway is one more way to them. */
export const serviceNames = ["job", "provider", "execution", "orchestrator"] as const;
export type ServiceName = (typeof serviceNames)[number];

/** A line of a service's log. */
export interface LogLine {
  readonly level?: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** What can be run: a service, or all of them in one process. */
export type ProgramName = ServiceName | "gateway" | "standalone";

export interface ServiceProcess {
  readonly name: ProgramName;
  readonly grpcAddress: string;
  readonly healthAddress: string;
  /** Of the process that runs now, or of the last one. */
  readonly pid: number;
  /** What it wrote on stdout since the first start; the last 2,000 lines. */
  readonly log: readonly LogLine[];
  /** Starts it without waiting for anything. */
  spawn(): void;
  /** Starts it, and answers when it has said that it is ready. `more` goes before its environment, this time. */
  start(more?: NodeJS.ProcessEnv): Promise<void>;
  /** Sends the signal and answers when the process has ended: the exit code, or the name of the signal that ended it. */
  kill(signal: NodeJS.Signals): Promise<number | string>;
  /** Ends it with the signal and starts it again on the same addresses. */
  restart(signal?: NodeJS.Signals): Promise<void>;
  /** Of a process that ended without being told to: how it ended. Null while all is well. */
  unexpectedEnd(): string | null;
  /** Takes the end of it as one that was meant; gives back how it ended, or null while it lives. */
  acceptEnd(): string | null;
  /** What /readyz answers; status 0 while nobody listens. */
  readiness(): Promise<Readiness>;
}

export interface Readiness {
  readonly status: number;
  readonly ready: boolean;
  readonly services: readonly {
    readonly service: string;
    readonly dependencies: readonly { readonly name: string; readonly ok: boolean; readonly error?: string }[];
    readonly loops: readonly { readonly name: string; readonly ok: boolean; readonly lastPassMs: number }[];
  }[];
}

const keptLines = 2_000;

export interface ServiceOptions {
  readonly name: ProgramName;
  readonly grpcAddress: string;
  readonly healthAddress: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Describes a service; nothing runs before `spawn` or `start`. */
export function createServiceProcess({ name, grpcAddress, healthAddress, env }: ServiceOptions): ServiceProcess {
  const main = fileURLToPath(new URL(`../../services/${name}/src/main.ts`, import.meta.url));
  const log: LogLine[] = [];
  let child: ChildProcess | null = null;
  let isEnding = false;
  let unexpected: string | null = null;

  function launch(more: NodeJS.ProcessEnv = {}): ChildProcess {
    isEnding = false;
    const started = spawnTied([process.execPath, main], {
      env: { ...env, CAPSTAN_GRPC_ADDRESS: grpcAddress, CAPSTAN_HEALTH_ADDRESS: healthAddress, ...more },
      stdout: "pipe",
      stderr: "pipe",
    });
    const keep = (line: string) => {
      log.push(parseLine(line));
      if (log.length > keptLines) log.shift();
    };
    if (started.stdout !== null) createInterface(started.stdout).on("line", keep);
    if (started.stderr !== null) createInterface(started.stderr).on("line", keep);
    started.on("exit", (code, signal) => {
      if (!isEnding) unexpected = `${name} ended with ${signal ?? code} by itself: ${lastWords(log)}`;
    });
    child = started;
    return started;
  }

  async function start(more: NodeJS.ProcessEnv = {}): Promise<void> {
    const before = log.length;
    const started = launch(more);
    const isReady = () =>
      log.slice(Math.min(before, log.length)).some(({ msg }) => /^(ready$|Capstan is ready)/.test(msg));
    await eventually(() => isReady() || hasEnded(started), 30_000);
    if (!isReady()) throw new Error(`${name} has ended: ${lastWords(log)}`);
  }

  async function kill(signal: NodeJS.Signals): Promise<number | string> {
    if (child === null || child.pid === undefined) throw new Error(`${name} was never started`);
    isEnding = true;
    if (!hasEnded(child)) {
      const ended = once(child, "exit");
      child.kill(signal);
      await ended;
    }
    return child.signalCode ?? child.exitCode ?? -1;
  }

  return {
    name,
    grpcAddress,
    healthAddress,
    get pid() {
      return child?.pid ?? 0;
    },
    log,
    spawn: () => void launch(),
    start,
    kill,
    restart: async (signal = "SIGTERM") => {
      await kill(signal);
      await start();
    },
    unexpectedEnd: () => unexpected,
    acceptEnd: () => {
      const end = unexpected;
      unexpected = null;
      return end;
    },
    readiness: () => readReadiness(healthAddress),
  };
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}

function lastWords(log: readonly LogLine[]): string {
  return log
    .slice(-5)
    .map((line) => JSON.stringify(line))
    .join("\n");
}

async function readReadiness(address: string): Promise<Readiness> {
  try {
    const response = await fetch(`http://${address}/readyz`);
    return { ...((await response.json()) as Omit<Readiness, "status">), status: response.status };
  } catch {
    return { status: 0, ready: false, services: [] };
  }
}
