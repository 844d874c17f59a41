/**
 * Stores the output of all executions of this runner: one insert for many logs, at most 100 ms or 256 KiB after the bytes came.
 * Memory is bounded: beyond the bound `write` answers with a promise, which holds the workload back until there is room.
 *
 * An execution that ends takes what is not stored yet along (`close`), so that its last chunks and its end are one transaction.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Db } from "@capstan/postgres";
import type { OutputSink, OutputStream } from "./backends/backend.ts";
import { addChunks, type LogChunk } from "./logStore.ts";
import { createLogCount, type LogCount, type LogTotals } from "./logTotals.ts";
import type { Wakes } from "./wakes.ts";

interface LogWriterOptions {
  readonly db: Db;
  /** Stored bytes of one log at most, both streams together. */
  readonly capBytes: number;
  /** Those who follow a log are woken when it has grown. */
  readonly wakes: Wakes;
  readonly log: { error(fields: object, message: string): void };
  readonly onStored?: (bytes: number) => void;
}

export interface LogWriter {
  open(executionId: string, fence: number): ExecutionLog;
  /** Resolves when everything written before is stored. */
  flush(): Promise<void>;
}

export interface ExecutionLog extends OutputSink {
  /** Counts a chunk that is already stored; all of them, in order, before the first write. */
  restore(chunk: { readonly sequence: number; readonly stream: OutputStream; readonly data: Uint8Array }): void;
  storedBytes(stream: OutputStream): number;
  /** Of the newest chunk; 0 when there is none. */
  lastSequence(): number;
  /** Ends the log. The chunks that are not stored yet are the caller's to store, together with the totals. */
  close(hasGap: boolean): Promise<{ readonly totals: LogTotals; readonly rest: readonly LogChunk[] }>;
}

const flushAfterMs = 100;
const flushAtBytes = 256 * 1024;
const maxPendingBytes = 8 * 1024 * 1024;
const maxChunkBytes = 64 * 1024;

interface OpenLog {
  readonly executionId: string;
  readonly fence: number;
  readonly count: LogCount;
  lastSequence: number;
  /** Not stored and not being stored. */
  pending: GrowingChunk[];
}

interface GrowingChunk {
  readonly sequence: number;
  readonly stream: OutputStream;
  readonly offset: number;
  readonly pieces: Uint8Array[];
  bytes: number;
}

export function createLogWriter(options: LogWriterOptions): LogWriter {
  const dirty = new Set<OpenLog>();
  let pendingBytes = 0; // with those in flight
  let sinceFlush = 0;
  let timer: NodeJS.Timeout | null = null;
  let flushing: Promise<void> | null = null;
  let room: PromiseWithResolvers<void> | null = null;

  function take(log: OpenLog): LogChunk[] {
    const chunks = log.pending.map((chunk) => freeze(log, chunk));
    log.pending = [];
    dirty.delete(log);
    return chunks;
  }

  function release(bytes: number): void {
    pendingBytes -= bytes;
    if (pendingBytes >= maxPendingBytes) return;
    room?.resolve();
    room = null;
  }

  async function storeDirty(): Promise<void> {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    sinceFlush = 0;
    const chunks = [...dirty].flatMap(take);
    if (chunks.length === 0) return;
    await storeInTheEnd(options, chunks);
    const bytes = sum(chunks);
    options.onStored?.(bytes);
    release(bytes);
    for (const id of new Set(chunks.map(({ executionId }) => executionId))) options.wakes.wake(id);
  }

  /** One pass, and only one at a time, so that the chunks of a log are stored in order. */
  function startFlush(): Promise<void> {
    flushing ??= storeDirty().finally(() => {
      flushing = null;
      if (dirty.size > 0) schedule();
    });
    return flushing;
  }

  function schedule(): void {
    if (flushing !== null) return; // it schedules the next when it ends
    if (sinceFlush >= flushAtBytes) void startFlush();
    else timer ??= setTimeout(() => void startFlush(), flushAfterMs);
  }

  function write(log: OpenLog, stream: OutputStream, bytes: Uint8Array): void | Promise<void> {
    const offset = log.count.storedBytes(stream);
    const kept = log.count.add(stream, bytes);
    if (kept === 0) return;
    append(log, stream, offset, bytes.subarray(0, kept));
    dirty.add(log);
    pendingBytes += kept;
    sinceFlush += kept;
    schedule();
    if (pendingBytes < maxPendingBytes) return;
    room ??= Promise.withResolvers();
    return room.promise;
  }

  return {
    flush: () => (flushing === null ? startFlush() : flushing.then(startFlush)),
    open(executionId, fence) {
      const log: OpenLog = {
        executionId,
        fence,
        count: createLogCount(options.capBytes),
        lastSequence: 0,
        pending: [],
      };
      return {
        write: (stream, bytes) => write(log, stream, bytes),
        restore({ sequence, stream, data }) {
          log.count.add(stream, data);
          log.lastSequence = sequence;
        },
        storedBytes: (stream) => log.count.storedBytes(stream),
        lastSequence: () => log.lastSequence,
        async close(hasGap) {
          // Taken before waiting, or the next flush would take it; what is in flight has to be stored before it.
          const rest = take(log);
          const hasEarlier = log.lastSequence > rest.length;
          if (hasEarlier) await flushing;
          release(sum(rest));
          return { totals: log.count.totals(hasGap), rest };
        },
      };
    },
  };
}

/** Adds to the last chunk when it is of the same stream and small, else begins new ones. */
function append(log: OpenLog, stream: OutputStream, offset: number, bytes: Uint8Array): void {
  for (let from = 0; from < bytes.length; ) {
    let chunk = log.pending.at(-1);
    if (chunk === undefined || chunk.stream !== stream || chunk.bytes >= maxChunkBytes) {
      chunk = { sequence: ++log.lastSequence, stream, offset: offset + from, pieces: [], bytes: 0 };
      log.pending.push(chunk);
    }
    const piece = bytes.subarray(from, from + maxChunkBytes - chunk.bytes);
    chunk.pieces.push(piece);
    chunk.bytes += piece.length;
    from += piece.length;
  }
}

function freeze({ executionId, fence }: OpenLog, { sequence, stream, offset, pieces }: GrowingChunk): LogChunk {
  return { executionId, fence, sequence, stream, offset, data: Buffer.concat(pieces) };
}

/** Output waits for the database as long as it takes; meanwhile the bound holds the workloads back. */
async function storeInTheEnd({ db, log }: LogWriterOptions, chunks: readonly LogChunk[]): Promise<void> {
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
    try {
      return await addChunks(db, chunks);
    } catch (error) {
      if (pauseMs === 50)
        log.error({ err: error, chunks: chunks.length }, "log chunks could not be stored; trying again");
      await delay(pauseMs);
    }
  }
}

function sum(chunks: readonly LogChunk[]): number {
  return chunks.reduce((bytes, { data }) => bytes + data.length, 0);
}
