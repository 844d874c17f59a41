/**
 * The machine's processes as /proc shows them, and the marks that tell whose they are.
 *
 * Every process of an execution inherits two marks in its environment: CAPSTAN_EXECUTION_ID and CAPSTAN_RUNNER. The runner's
 * mark names one backend of one process for good (`<pid namespace>.<pid>.<start ticks>.<random>`), so that nobody ever kills for a runner that lives.
 */

import { openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Since boot, in clock ticks (10 ms): tells two processes of one pid apart. */
  readonly startTicks: number;
  /** A zombie: it waits for its parent and can do nothing any more. */
  readonly isDead: boolean;
}

export interface Mark {
  readonly runner: string;
  readonly executionId: string;
}

/** All processes that can be seen; empty where there is no /proc. */
export function readProcesses(): ProcessEntry[] {
  const entries: ProcessEntry[] = [];
  for (const name of listProc()) {
    const pid = Number(name);
    const entry = Number.isInteger(pid) ? readProcess(pid) : null;
    if (entry !== null) entries.push(entry);
  }
  return entries;
}

/** One process, or null when it is gone. */
function readProcess(pid: number): ProcessEntry | null {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The name stands in parentheses and may hold anything, so fields are counted from the last one.
  const [state, parent, group, session, ...more] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTicks: Number(more[15]),
    isDead: state === "Z" || state === "X",
  };
}

/** The marks of a process; null when it has none, hides them, or belongs to someone else. */
export function readMark(pid: number): Mark | null {
  const text = readProc(`/proc/${pid}/environ`);
  if (text === null || !text.includes("CAPSTAN_RUNNER=")) return null;
  const find = (name: string) =>
    text
      .split("\0")
      .find((entry) => entry.startsWith(name))
      ?.slice(name.length) ?? null;
  const runner = find("CAPSTAN_RUNNER=");
  const executionId = find("CAPSTAN_EXECUTION_ID=");
  return runner === null || executionId === null ? null : { runner, executionId };
}

/** A mark for one backend of this process. */
export function newRunnerMark(): string {
  const random = crypto.randomUUID().slice(0, 8);
  return `${pidNamespace()}.${process.pid}.${readProcess(process.pid)?.startTicks ?? 0}.${random}`;
}

/** True when the runner of a mark is known to be dead. A runner of another pid namespace cannot be seen, so it counts as alive. */
export function isRunnerDead(runner: string, processes: ReadonlyMap<number, ProcessEntry>): boolean {
  const [namespace, pid, ticks] = runner.split(".");
  if (namespace !== pidNamespace()) return false;
  return processes.get(Number(pid))?.startTicks !== Number(ticks);
}

/**
 * Opens the list of process 1's children. Who has lost its parent becomes one of them, so in a pid namespace of our own the
 * answer "nobody but me" proves, for a microsecond's work, that no execution that ended has left anything behind.
 */
export function openOrphans(): () => readonly number[] | null {
  const path = "/proc/1/task/1/children";
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return () => null;
  }
  const buffer = Buffer.allocUnsafe(4096);
  return () => {
    const length = readSync(file, buffer, 0, buffer.length, 0);
    if (length === buffer.length) return null;
    return buffer.toString("latin1", 0, length).split(" ").filter(Boolean).map(Number);
  };
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
  } catch {
    return "0";
  }
}

function listProc(): readonly string[] {
  try {
    return readdirSync("/proc");
  } catch {
    return [];
  }
}

/** Reads a /proc file; null when its process is gone or not ours to read. */
function readProc(path: string): string | null {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return null;
  }
}
