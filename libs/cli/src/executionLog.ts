/** The log of one execution, read to its end and across restarts of the platform. */
import type { Capstan } from "@capstan/client";
import { DomainError } from "@capstan/errors";
import type { LogSummary } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { LogChunk } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { note, writeTo } from "./output.ts";
import { formatBytes } from "./quantities.ts";
import { resume } from "./resume.ts";

interface ReadLogOptions {
  readonly executionId: string;
  /** Stay until nothing will be added any more; otherwise end with what is there. */
  readonly follow: boolean;
  readonly signal?: AbortSignal;
}

/** Every chunk once, in order; gives back the summary. Null if the execution is not known, as one that was never started. */
export async function readLog(
  capstan: Capstan,
  { executionId, follow, signal }: ReadLogOptions,
  onChunk: (chunk: LogChunk) => Promise<void>,
): Promise<LogSummary | null> {
  let afterSequence = 0;
  let summary: LogSummary | null = null;
  const settings = signal === undefined ? {} : { signal };
  const messages = resume({
    open: () => capstan.executions.tailLogs({ executionId, afterSequence, follow }, settings),
    isComplete: () => summary !== null || !follow,
    signal,
  });
  try {
    for await (const { part } of messages) {
      if (part?.$case === "summary") summary = part.value;
      if (part?.$case !== "chunk") continue;
      afterSequence = part.value.sequence;
      await onChunk(part.value);
    }
  } catch (error) {
    if (!(error instanceof DomainError && error.code === "NOT_FOUND")) throw error;
  }
  return summary;
}

/** Writes a chunk where the workload wrote it: bytes as they are, standard error to ours. */
export async function printChunk({ stream, data }: LogChunk): Promise<void> {
  await writeTo(stream === "LOG_STREAM_STDERR" ? process.stderr : process.stdout, data);
}

/** Says what is missing of a log, if anything is. */
export function noteLosses(summary: LogSummary | null): void {
  if (summary === null) return;
  if (summary.droppedBytes > 0)
    note(`${formatBytes(summary.droppedBytes)} of the log were over its limit and are not kept`);
  if (summary.hasGap) note("a part of the log is missing, because its runner was lost");
}

/** Prints one log to its end, and what is missing of it. */
export async function printLog(capstan: Capstan, executionId: string, follow: boolean): Promise<void> {
  noteLosses(await readLog(capstan, { executionId, follow }, printChunk));
}
