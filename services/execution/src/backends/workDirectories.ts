/**
 * Empty working directories, one per execution at a time.
 *
 * Making and removing one costs as much as a tenth of a spawn, looking into one nearly nothing, and most workloads leave
 * theirs empty: such a one is as good as new and serves again; any other is removed.
 */

import { mkdirSync, readdirSync, rm, statSync } from "node:fs";

const MODE = 0o700;

export interface WorkDirectories {
  take(): string;
  /** Removes it with all it holds, or keeps it for the next. */
  release(path: string): void;
}

/** Working directories below a directory that is ours alone. */
export function openWorkDirectories(parent: string): WorkDirectories {
  const free: string[] = [];
  let made = 0;
  return {
    take: () => {
      const known = free.pop();
      if (known !== undefined) return known;
      const path = `${parent}/${made++}`;
      mkdirSync(path, { mode: MODE });
      return path;
    },
    release: (path) => {
      if (isAsNew(path)) free.push(path);
      else rm(path, { recursive: true, force: true }, () => {}); // what resists goes with the parent, when we leave
    },
  };
}

function isAsNew(path: string): boolean {
  try {
    return (statSync(path).mode & 0o7777) === MODE && readdirSync(path).length === 0;
  } catch {
    return false;
  }
}
