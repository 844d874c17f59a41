/** How a runner is told apart from all others, dead ones with the same pid included. Linux only: it reads /proc. */
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

export interface RunnerHost {
  /** Two runners with the same one see each other's pids: host name, boot and pid namespace. */
  readonly host: string;
  readonly pid: number;
  /** Clock ticks after boot; null only for a process that is gone. */
  readonly pidStart: number;
}

export function describeThisRunner(): RunnerHost {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const host = `${hostname()}/${bootId}/${readlinkSync("/proc/self/ns/pid")}`;
  return { host, pid: process.pid, pidStart: readPidStart(process.pid) ?? 0 };
}

/** True when the process that had this pid at that time has ended; only for runners on this host. */
export function hasEnded({ pid, pidStart }: Pick<RunnerHost, "pid" | "pidStart">): boolean {
  return readPidStart(pid) !== pidStart;
}

/** Field 22 of /proc/<pid>/stat, see proc_pid_stat(5); null when there is no such process, or only its zombie. */
function readPidStart(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in field 2 may hold anything, also ") ": the fields after it begin at the last one.
    const fields = stat.slice(stat.lastIndexOf(") ") + 2).split(" ");
    return fields[0] === "Z" ? null : Number(fields[22 - 3]);
  } catch {
    return null;
  }
}
