/**
 * The log of one execution as lines: what is stored and what comes, by one stream that the browser resumes by itself. Lines of both
 * outputs stay in the order in which they were written.
 */
import { signal } from "@preact/signals";
import { apiUrl } from "./base.ts";
import { connection } from "./connection.ts";
import { createLineSplitter, type LogChunk, type LogLine } from "./logLines.ts";

export interface LogSummary {
  readonly lines?: string;
  readonly stdoutBytes?: string;
  readonly stderrBytes?: string;
  readonly droppedBytes?: string;
  readonly sha256?: string;
  readonly isSealed?: boolean;
  readonly hasGap?: boolean;
}

export interface LogState {
  readonly lines: readonly LogLine[];
  /** How many lines at the beginning were let go, so that the page does not grow without end. */
  readonly forgotten: number;
  /** Null until all of it is there. */
  readonly summary: LogSummary | null;
  readonly isLost: boolean;
}

export const maxLines = 100_000;

/** A piece of output, or the end of it, as the gateway tells it. */
interface LogPart extends LogChunk {
  readonly type: "log.chunk" | "log.sealed";
  readonly sequence?: string | number;
  readonly summary?: LogSummary;
}

const flushMs = 80;

/** Reads until it is stopped or the log is sealed. */
export function readLog(executionId: string) {
  const state = signal<LogState>({ lines: [], forgotten: 0, summary: null, isLost: false });
  const splitter = createLineSplitter();
  const url = apiUrl(`executions/${executionId}/logs:tail`);
  let pending: LogLine[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;

  function flush(summary: LogSummary | null = null): void {
    clearTimeout(timer);
    timer = undefined;
    const all = [...state.value.lines, ...pending];
    const over = Math.max(0, all.length - maxLines);
    pending = [];
    state.value = {
      lines: over === 0 ? all : all.slice(over),
      forgotten: state.value.forgotten + over,
      summary: summary ?? state.value.summary,
      isLost: false,
    };
  }

  const source = new EventSource(url);
  function receive({ data }: MessageEvent): void {
    const part = JSON.parse(String(data)) as LogPart;
    if (part.type === "log.chunk") {
      const sequence = Number(part.sequence ?? 0);
      if (sequence <= last) return;
      last = sequence;
      pending.push(...splitter.add(part));
      timer ??= setTimeout(flush, flushMs);
    } else if (part.summary !== undefined) {
      pending.push(...splitter.rest());
      source.close();
      flush(part.summary);
    }
  }
  source.onmessage = receive;
  for (const type of ["log.chunk", "log.sealed"]) source.addEventListener(type, receive);
  source.onopen = () => {
    state.value = { ...state.value, isLost: false };
  };
  source.onerror = () => {
    if (state.value.summary !== null) return;
    state.value = { ...state.value, isLost: true };
    connection.check();
  };
  return {
    state,
    stop(): void {
      clearTimeout(timer);
      source.close();
    },
  };
}
