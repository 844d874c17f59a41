/**
 * What workloads say of themselves: one line when they begin and one when they have done their work, appended to a file by the
 * workload's own process and by nobody else.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

export interface Effect {
  readonly event: "begin" | "end";
  readonly executionId: string;
  readonly jobId: string;
  readonly attempt: number;
  /** By the clock of this machine; all workloads of a run share it. */
  readonly timeMs: number;
  readonly by: "handler" | "process";
}

export interface LedgerWriter {
  write(effect: Effect): void;
  close(): void;
}

/** One write per line, at the end of the file: lines of many processes do not mix. */
export function openLedger(path: string): LedgerWriter {
  const file = openSync(path, "a", 0o666);
  return {
    write: ({ event, executionId, jobId, attempt, timeMs, by }) =>
      void writeSync(file, `${event} ${executionId} ${jobId} ${attempt} ${timeMs} ${by}\n`),
    close: () => closeSync(file),
  };
}

/** The same line, from a shell whose environment has LEDGER. */
export function shellLine(event: Effect["event"]): string {
  return `echo "${event} $CAPSTAN_EXECUTION_ID $CAPSTAN_JOB_ID $CAPSTAN_ATTEMPT $(date +%s%3N) process" >> "$LEDGER"`;
}

const uuid = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const pattern = new RegExp(`^(begin|end) (${uuid}) (${uuid}) (\\d+) (\\d+) (handler|process)$`);

/** Every line; throws on one that no workload can have written. */
export function readLedger(path: string): readonly Effect[] {
  const lines = readFileSync(path, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => {
    const [, event, executionId = "", jobId = "", attempt, timeMs, by] = pattern.exec(line) ?? [];
    if (event === undefined) throw new Error(`the ledger has a line that no workload wrote: ${line}`);
    return { event, executionId, jobId, attempt: Number(attempt), timeMs: Number(timeMs), by } as Effect;
  });
}
