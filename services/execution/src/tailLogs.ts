/**
 * A log, live or archived, by the same reads. Whether it is sealed is read before its chunks, so that a sealed log is always
 * told to its last chunk.
 */
import { setTimeout as delay } from "node:timers/promises";
import { invalid, notFound } from "@capstan/errors";
import { type Call, decodePageToken, encodePageToken } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import type { LogSummary } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type {
  ReadLogsRequest,
  ReadLogsResponse,
  TailLogsRequest,
  TailLogsResponse,
} from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { toLogSummary } from "./executionProto.ts";
import { listChunks, measureLog, readLog, type StoredChunk } from "./logStore.ts";
import type { Wakes } from "./wakes.ts";

export interface TailDeps {
  readonly db: Db;
  readonly wakes: Wakes;
  /** Whether this process writes the log, and so wakes its readers; another's is looked at every 500 ms. */
  readonly isWrittenHere: (executionId: string) => boolean;
}

// A chunk has at most 64 KiB.
const pageChunks = 32;
const pollElsewhereMs = 500;
const pollHereMs = 10_000;

export async function* tailLogs(
  request: TailLogsRequest,
  call: Pick<Call, "tenant" | "signal">,
  deps: TailDeps,
): AsyncGenerator<TailLogsResponse> {
  const { executionId } = request;
  if (request.afterSequence < 0) throw invalid([{ field: "after_sequence", description: "must not be negative" }]);
  let last = request.afterSequence;
  while (!call.signal.aborted) {
    const { news, forget } = deps.wakes.next(executionId);
    try {
      const log = await readLog(deps.db, call.tenant, executionId);
      if (log === null) throw notFound("execution", executionId);
      const chunks = await listChunks(deps.db, executionId, last, pageChunks);
      for (const chunk of chunks) yield { part: { $case: "chunk", value: toChunk(chunk) } };
      last = chunks.at(-1)?.sequence ?? last;
      if (chunks.length === pageChunks) continue;
      if (log.isSealed || !request.follow) {
        const value = log.isSealed ? toLogSummary(log, true) : await summarizeLive(deps.db, executionId);
        yield { part: { $case: "summary", value } };
        return;
      }
      await waitFor(news, deps.isWrittenHere(executionId) ? pollHereMs : pollElsewhereMs, call.signal);
    } finally {
      forget();
    }
  }
}

const defaultPageChunks = 16;

/** A page of what is stored. The token of a log that is not sealed goes on where its chunks end. */
export async function readLogs(
  request: ReadLogsRequest,
  call: Pick<Call, "tenant">,
  { db }: Pick<TailDeps, "db">,
): Promise<ReadLogsResponse> {
  const { executionId } = request;
  if (request.pageSize < 0) throw invalid([{ field: "page_size", description: "must not be negative" }]);
  const limit = request.pageSize === 0 ? defaultPageChunks : Math.min(request.pageSize, pageChunks);
  const query = { tenant: call.tenant, executionId };
  const after = Number(decodePageToken(request.pageToken, query)?.[0] ?? 0);
  if (!Number.isSafeInteger(after) || after < 0)
    throw invalid([{ field: "page_token", description: "is not a page token of this service" }]);
  const log = await readLog(db, call.tenant, executionId);
  if (log === null) throw notFound("execution", executionId);
  const chunks = await listChunks(db, executionId, after, limit);
  const nextPageToken = encodePageToken(query, [String(chunks.at(-1)?.sequence ?? after)]);
  if (chunks.length === limit) return { chunks: chunks.map(toChunk), nextPageToken, summary: undefined };
  const summary = log.isSealed ? toLogSummary(log, true) : await summarizeLive(db, executionId);
  return { chunks: chunks.map(toChunk), nextPageToken: log.isSealed ? "" : nextPageToken, summary };
}

function toChunk({ sequence, stream, offset, data, time }: StoredChunk) {
  const which = stream === "stdout" ? ("LOG_STREAM_STDOUT" as const) : ("LOG_STREAM_STDERR" as const);
  return { sequence, stream: which, offset, data, time };
}

async function summarizeLive(db: Db, executionId: string): Promise<LogSummary> {
  const { stdout, stderr } = await measureLog(db, executionId);
  const unknown = { lines: 0, droppedBytes: 0, sha256: "", hasGap: false };
  return toLogSummary({ ...unknown, stdoutBytes: stdout, stderrBytes: stderr }, false);
}

async function waitFor(news: Promise<void>, longestMs: number, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  await Promise.race([news, delay(longestMs, undefined, { signal: either }).catch(() => {})]);
  over.abort();
}
