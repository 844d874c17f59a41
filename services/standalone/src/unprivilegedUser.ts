/**
 * Postgres refuses to run as root, so that a process that is root runs it as the OS user `postgres`, which is made when missing.
 * That user often cannot enter the directory of a checkout (a home of root, a `mktemp -d`): then `setpriv` gives the server the
 * one capability it needs to pass.
 */
import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { DomainError } from "@capstan/errors";

export interface OsUser {
  readonly uid: number;
  readonly gid: number;
}

const userName = "postgres";

/** Null when we are not root: then our own user will do. */
export async function unprivilegedUser(): Promise<OsUser | null> {
  if (process.getuid?.() !== 0) return null;
  const found = await findUser();
  if (found !== null) return found;
  await promisify(execFile)("useradd", ["--system", "--no-create-home", "--user-group", userName]);
  const made = await findUser();
  if (made === null) throw new Error(`the OS user ${userName} was made but is not there`);
  return made;
}

async function findUser(): Promise<OsUser | null> {
  for (const line of (await readFile("/etc/passwd", "utf8")).split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (name === userName) return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}

/** How to run a command as the user so that it reaches the paths; refuses when nothing on this machine can do that. */
export async function runAs(
  user: OsUser | null,
  command: readonly string[],
  paths: readonly string[],
): Promise<{ command: readonly string[]; user: OsUser | null }> {
  if (user === null) return { command, user: null };
  const blocked = await firstClosed(user, paths);
  if (blocked === null) return { command, user };
  const setpriv = ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"];
  const capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"];
  const wrapped = [...setpriv, ...capability, "--"];
  try {
    await promisify(execFile)("setpriv", [...wrapped.slice(1), "true"]);
    return { command: [...wrapped, ...command], user: null };
  } catch {
    throw new DomainError({
      code: "FAILED_PRECONDITION",
      reason: "DIRECTORY_CLOSED",
      message: `Postgres does not run as root, and the user ${userName} may not enter ${blocked}; open it (chmod o+x), or start as another user`,
    });
  }
}

/** The outermost directory on the way to the paths that the user may not enter. */
async function firstClosed(user: OsUser, paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    const way: string[] = [];
    for (let at = dirname(path); at !== dirname(at); at = dirname(at)) way.unshift(at);
    for (const directory of way) {
      const { mode, uid, gid } = await stat(directory);
      const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
      if ((mode & bit) === 0) return directory;
    }
  }
  return null;
}
