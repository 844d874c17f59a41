/** The statements of logs: chunks in, chunks out, and what is known of a log as a whole. */
import type { Db } from "@capstan/postgres";
import type { OutputStream } from "./backends/backend.ts";
import type { LogTotals } from "./logTotals.ts";

/** A piece of one stream of one log. */
export interface LogChunk {
  readonly executionId: string;
  /** Of the lease under which it was written. */
  readonly fence: number;
  /** From 1, over both streams of its log. */
  readonly sequence: number;
  readonly stream: OutputStream;
  /** Where its first byte stands in its stream. */
  readonly offset: number;
  readonly data: Uint8Array;
}

/** A chunk as it was stored. */
export interface StoredChunk {
  readonly sequence: number;
  readonly stream: OutputStream;
  readonly offset: number;
  readonly data: Buffer;
  readonly time: Date;
}

const streamNumber = { stdout: 1, stderr: 2 } as const;

/** Stores chunks of many logs; those of an execution that has another holder by now are left out, those stored before are kept. */
export async function addChunks(db: Db, chunks: readonly LogChunk[]): Promise<void> {
  await db.query({
    name: "add_chunks",
    text: `insert into log_chunk (execution_id, sequence, stream, byte_offset, data)
           select chunk.execution_id, chunk.sequence, chunk.stream, chunk.byte_offset, chunk.data
             from unnest($1::uuid[], $2::bigint[], $3::int[], $4::smallint[], $5::bigint[], $6::bytea[])
               as chunk(execution_id, fence, sequence, stream, byte_offset, data)
             join execution e on e.id = chunk.execution_id and e.fence = chunk.fence
               on conflict (execution_id, sequence) do nothing`,
    values: [
      chunks.map(({ executionId }) => executionId),
      chunks.map(({ fence }) => fence),
      chunks.map(({ sequence }) => sequence),
      chunks.map(({ stream }) => streamNumber[stream]),
      chunks.map(({ offset }) => offset),
      chunks.map(({ data }) => data),
    ],
  });
}

/** The chunks after a sequence, in order. */
export async function listChunks(
  db: Db,
  executionId: string,
  afterSequence: number,
  limit: number,
): Promise<readonly StoredChunk[]> {
  const { rows } = await db.query<{ sequence: number; stream: 1 | 2; byte_offset: number; data: Buffer; time: Date }>({
    name: "list_chunks",
    text: `select sequence, stream, byte_offset, data, time from log_chunk
            where execution_id = $1 and sequence > $2 order by sequence limit $3`,
    values: [executionId, afterSequence, limit],
  });
  return rows.map((row) => ({
    sequence: row.sequence,
    stream: row.stream === streamNumber.stdout ? "stdout" : "stderr",
    offset: row.byte_offset,
    data: row.data,
    time: row.time,
  }));
}

/** What is known of a log; `lines` and `sha256` only once it is sealed. Null when the tenant has no such execution. */
export async function readLog(
  db: Db,
  tenant: string,
  executionId: string,
): Promise<(LogTotals & { readonly isSealed: boolean }) | null> {
  const { rows } = await db.query<LogRow>({
    name: "read_log",
    text: `select e.end_time is not null as is_sealed, e.stdout_bytes, e.stderr_bytes, e.log_lines, e.log_dropped_bytes,
                  e.log_sha256, e.log_has_gap
             from execution e where e.id = $1 and e.tenant = $2`,
    values: [executionId, tenant],
  });
  return rows[0] === undefined ? null : logFromRow(rows[0]);
}

/** Stored bytes per stream of a log that is not sealed. */
export async function measureLog(db: Db, executionId: string): Promise<Record<OutputStream, number>> {
  const { rows } = await db.query<{ stream: 1 | 2; bytes: number }>(
    `select stream, sum(length(data))::bigint as bytes from log_chunk where execution_id = $1 group by stream`,
    [executionId],
  );
  const bytes = (stream: OutputStream) => rows.find((row) => row.stream === streamNumber[stream])?.bytes ?? 0;
  return { stdout: bytes("stdout"), stderr: bytes("stderr") };
}

/** The columns of `execution` that tell of its log. */
export interface LogRow {
  readonly is_sealed: boolean;
  readonly stdout_bytes: number;
  readonly stderr_bytes: number;
  readonly log_lines: number;
  readonly log_dropped_bytes: number;
  readonly log_sha256: string;
  readonly log_has_gap: boolean;
}

export function logFromRow(row: LogRow): LogTotals & { readonly isSealed: boolean } {
  return {
    stdoutBytes: row.stdout_bytes,
    stderrBytes: row.stderr_bytes,
    lines: row.log_lines,
    droppedBytes: row.log_dropped_bytes,
    sha256: row.log_sha256,
    hasGap: row.log_has_gap,
    isSealed: row.is_sealed,
  };
}
