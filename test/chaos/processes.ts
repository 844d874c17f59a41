/** The processes of this machine that carry the mark of an execution, from /proc. */
import { readdir, readFile } from "node:fs/promises";

export interface ProcessSeen {
  readonly executionId: string;
  readonly pid: number;
}

const mark = /(?:^|\0)CAPSTAN_EXECUTION_ID=([^\0]*)/;

/** A zombie has no environment any more and counts as gone. */
export async function listMarkedProcesses(): Promise<readonly ProcessSeen[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const seen = await Promise.all(
    pids.map(async (pid) => {
      const [, executionId] = mark.exec(await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "")) ?? [];
      return executionId === undefined ? null : { executionId, pid };
    }),
  );
  return seen.filter((process) => process !== null);
}
