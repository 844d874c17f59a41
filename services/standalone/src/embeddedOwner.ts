/**
 * Who runs the server of a data directory. A server whose owner has died is stopped before a new one starts; one whose owner
 * lives is left alone, and the second start is refused. A process id alone proves nothing (ids are used again), so a server is
 * recognised by its command line, and its owner by being its parent: when an owner dies, its children get another parent.
 */
import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { DomainError } from "@capstan/errors";

interface Owner {
  readonly server: number;
  readonly owner: number;
}

const ownerFile = (directory: string) => join(directory, "owner.json");

export async function recordOwner(directory: string, server: number): Promise<void> {
  await writeFile(ownerFile(directory), JSON.stringify({ server, owner: process.pid } satisfies Owner));
}

export async function forgetOwner(directory: string): Promise<void> {
  await rm(ownerFile(directory), { force: true });
}

/** Makes sure that no server runs on the directory: stops an orphan, refuses when the owner is alive. */
export async function claimDirectory(name: string, directory: string): Promise<void> {
  const owner = await readFile(ownerFile(directory), "utf8").then(
    (text) => JSON.parse(text) as Owner,
    () => null,
  );
  if (owner === null) return;
  const server = await describeServer(owner.server, directory);
  if (server !== null && server.parent === owner.owner) {
    throw new DomainError({
      code: "FAILED_PRECONDITION",
      reason: "DATA_DIRECTORY_IN_USE",
      message: `${name} already runs on ${directory}, started by process ${owner.owner}; stop that or use another directory`,
    });
  }
  if (server !== null) await stopOrphan(owner.server, directory);
  await forgetOwner(directory);
}

/** SIGINT is an orderly stop for both servers; SIGQUIT makes Postgres leave at once and recover on its next start. */
async function stopOrphan(pid: number, directory: string): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    const giveUp = Date.now() + 5_000;
    signalIfThere(pid, signal);
    while (Date.now() < giveUp) {
      if ((await describeServer(pid, directory)) === null) return;
      await sleep(20);
    }
  }
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Null when there is no such process, when it is a zombie, or when it is not the server of this directory. */
export async function describeServer(pid: number, directory: string): Promise<{ parent: number } | null> {
  const found = process.platform === "linux" ? await fromProc(pid) : await fromPs(pid);
  return found?.command.includes(directory) ? { parent: found.parent } : null;
}

async function fromProc(pid: number): Promise<{ parent: number; command: string } | null> {
  try {
    const [stat, command] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "utf8"),
      readFile(`/proc/${pid}/cmdline`, "utf8"),
    ]);
    // The name in parentheses may hold anything; state and parent follow the last one.
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    return { parent, command };
  } catch {
    return null;
  }
}

async function fromPs(pid: number): Promise<{ parent: number; command: string } | null> {
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "ppid=,args=", "-p", String(pid)]);
    const [parent = "", ...command] = stdout.trim().split(/\s+/);
    return { parent: Number(parent), command: command.join(" ") };
  } catch {
    return null;
  }
}
