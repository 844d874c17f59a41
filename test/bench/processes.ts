/** What the platform's processes use, as Linux counts it. */
import { readdirSync, readFileSync } from "node:fs";

const ticksPerSecond = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** CPU of the process and of its children that have ended, in milliseconds. */
  readonly cpuMs: number;
}

function readStat(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
    return { pid, parent: Number(fields[1]), cpuMs: (ticks * 1_000) / ticksPerSecond };
  } catch {
    return null;
  }
}

/** The processes below (and with) the given ones. */
export function treeOf(roots: readonly number[]): readonly Stat[] {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readStat(Number(name)) ?? []);
  const inTree = new Set(roots);
  for (let size = 0; size !== inTree.size; ) {
    size = inTree.size;
    for (const { pid, parent } of all) if (inTree.has(parent)) inTree.add(pid);
  }
  return all.filter(({ pid }) => inTree.has(pid));
}

/** CPU milliseconds used so far by everything below the given processes, workloads that have ended included. */
export function cpuMs(roots: readonly number[]): number {
  return treeOf(roots).reduce((sum, stat) => sum + stat.cpuMs, 0);
}

/** Resident memory in MiB; 0 when it has ended. */
export function residentMib(pid: number): number {
  try {
    const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return Number(match?.[1] ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

/** Memory of several processes that share pages (Postgres), each page counted by its share, in MiB. */
export function proportionalMib(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    try {
      return (
        sum + Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0) / 1_024
      );
    } catch {
      return sum;
    }
  }, 0);
}
