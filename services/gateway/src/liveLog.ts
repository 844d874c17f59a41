/** The log of an execution for a live client, chunk by chunk, live or archived; goes on by itself after a broken connection. */
import { isUtf8 } from "node:buffer";
import { setTimeout as sleep } from "node:timers/promises";
import { DomainError } from "@capstan/errors";
import type { PromiseClient } from "@capstan/grpc";
import { LogSummary } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { ExecutionServiceClient, LogChunk } from "@capstan/proto/capstan/execution/v1/execution_service.ts";

export type Executions = Pick<PromiseClient<ExecutionServiceClient>, "getExecution" | "tailLogs">;

/** A piece of a log, or its end, as JSON. */
export interface LogPart {
  /** Null for the end. */
  readonly sequence: number | null;
  readonly json: string;
}

const transient: readonly string[] = ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"];
const longestPauseMs = 2_000;

/** Begins only when there is such an execution; refuses with NOT_FOUND otherwise. */
export async function openLog(
  executions: Executions,
  { executionId, afterSequence }: { readonly executionId: string; readonly afterSequence: number },
  signal: AbortSignal,
): Promise<AsyncGenerator<LogPart>> {
  await executions.getExecution({ executionId }, { signal });
  return followLog(executions, executionId, afterSequence, signal);
}

async function* followLog(
  executions: Executions,
  executionId: string,
  afterSequence: number,
  signal: AbortSignal,
): AsyncGenerator<LogPart> {
  let last = afterSequence;
  for (let pauseMs = 100; ; pauseMs = Math.min(longestPauseMs, 2 * pauseMs)) {
    try {
      for await (const { part } of executions.tailLogs(
        { executionId, afterSequence: last, follow: true },
        { signal },
      )) {
        pauseMs = 100;
        if (part?.$case === "chunk" && part.value.sequence > last) {
          last = part.value.sequence;
          yield { sequence: last, json: chunkJson(executionId, part.value) };
        }
        if (part?.$case === "summary" && part.value.isSealed) {
          yield { sequence: null, json: sealedJson(executionId, last, part.value) };
          return;
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DomainError) || !transient.includes(error.code)) throw error;
    }
    await sleep(pauseMs, undefined, { signal });
  }
}

/** Bytes that are no text, or end within a character, come in base64 as `data`; the others as `text`. */
function chunkJson(executionId: string, { sequence, stream, offset, data, time }: LogChunk): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return JSON.stringify({
    type: "log.chunk",
    executionId,
    sequence,
    stream: stream === "LOG_STREAM_STDERR" ? "stderr" : "stdout",
    offset,
    time,
    ...(isUtf8(bytes) ? { text: bytes.toString() } : { data: bytes.toString("base64") }),
  });
}

function sealedJson(executionId: string, sequence: number, summary: LogSummary): string {
  return JSON.stringify({ type: "log.sealed", executionId, sequence, summary: LogSummary.toJSON(summary) });
}
