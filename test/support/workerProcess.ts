/**
 * A worker in a process of its own, so that it can be killed as users' processes are. Its one handler, `hold`, says that it was
 * called and never returns.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const program = fileURLToPath(new URL("./workerProgram.ts", import.meta.url));

export interface WorkerProcess {
  /** Resolves with the job's id once the handler was called. */
  readonly called: Promise<string>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** Starts it; it ends with the test at the latest. */
export function startWorkerProcess(address: string, pool: string): WorkerProcess {
  const child = spawn(process.execPath, [program, address, pool], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => end(child, "SIGKILL"));
  const called = once(createInterface(child.stdout), "line").then(([line]) => String(line));
  return { called, kill: (signal) => end(child, signal) };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}
