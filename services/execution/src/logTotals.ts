/**
 * What is known of one log as it grows: bytes per stream, lines, what did not fit, and a running SHA-256 over the stored bytes
 * in the order of their chunks.
 */
import { createHash, type Hash } from "node:crypto";
import type { OutputStream } from "./backends/backend.ts";

/** A log with nothing more to come. */
export interface LogTotals {
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  /** Of both streams; a last line counts without its newline too. */
  readonly lines: number;
  /** Not stored, because the log was at its cap. */
  readonly droppedBytes: number;
  /** Hex. */
  readonly sha256: string;
  /** True if a part is missing because a runner was lost. */
  readonly hasGap: boolean;
}

export interface LogCount {
  /** Counts bytes as stored, up to the cap, and gives back how many are; the rest is counted as dropped. */
  add(stream: OutputStream, bytes: Uint8Array): number;
  /** Stored so far, which is the offset of the stream's next byte. */
  storedBytes(stream: OutputStream): number;
  totals(hasGap: boolean): LogTotals;
}

const newline = 10;
const emptySha256 = createHash("sha256").digest("hex");

/** `capBytes` is over both streams. */
export function createLogCount(capBytes: number): LogCount {
  const stored = { stdout: 0, stderr: 0 };
  const isMidLine = { stdout: false, stderr: false };
  let newlines = 0;
  let droppedBytes = 0;
  let hash: Hash | null = null; // most workloads write nothing

  return {
    add(stream, bytes) {
      const room = capBytes - stored.stdout - stored.stderr;
      const kept = bytes.length > room ? bytes.subarray(0, room) : bytes;
      droppedBytes += bytes.length - kept.length;
      if (kept.length === 0) return 0;
      hash ??= createHash("sha256");
      hash.update(kept);
      stored[stream] += kept.length;
      newlines += countNewlines(kept);
      isMidLine[stream] = kept.at(-1) !== newline;
      return kept.length;
    },
    storedBytes: (stream) => stored[stream],
    totals: (hasGap) => ({
      stdoutBytes: stored.stdout,
      stderrBytes: stored.stderr,
      lines: newlines + Number(isMidLine.stdout) + Number(isMidLine.stderr),
      droppedBytes,
      sha256: hash === null ? emptySha256 : hash.copy().digest("hex"),
      hasGap,
    }),
  };
}

function countNewlines(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) count++;
  return count;
}
