/**
 * The log of one execution as lines: what is stored and what comes, over the one live connection, because each stream of
 * its own would take one of the six connections that a browser makes; over such a stream only while there is no live connection, as
 * behind a proxy that lets no WebSocket through. Lines of both outputs stay in the order in which they were written.
 */
import { computed, effect, signal } from "@preact/signals";
import { apiUrl } from "./base.ts";
import { epoch } from "./connection.ts";
import { listen, liveState } from "./live.ts";
import type { LiveEvent } from "./liveEvent.ts";
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
  /** Why it cannot be read; empty if it can. */
  readonly refusal: string;
}

const maxLines = 100_000;

const bunchMs = 100;

/** A piece of output, or the end of it, as the gateway tells it. */
interface LogPart extends LogChunk {
  readonly type: "log.chunk" | "log.sealed";
  readonly sequence?: string | number;
  readonly summary?: LogSummary;
}

/** Reads until it is stopped or the log is sealed. */
export function readLog(executionId: string) {
  const state = signal<LogState>({ lines: [], forgotten: 0, summary: null, refusal: "" });
  const splitter = createLineSplitter();
  let last = 0;

  function receive(parts: readonly LogPart[]): void {
    const fresh: LogLine[] = [];
    let { summary } = state.value;
    for (const part of parts) {
      if (part.type === "log.chunk" && Number(part.sequence) > last) {
        last = Number(part.sequence);
        fresh.push(...splitter.add(part));
      } else if (part.summary !== undefined) {
        ({ summary } = part);
        fresh.push(...splitter.rest());
        stop();
      }
    }
    const all = [...state.value.lines, ...fresh];
    const over = Math.max(0, all.length - maxLines);
    const forgotten = state.value.forgotten + over;
    state.value = { lines: over === 0 ? all : all.slice(over), forgotten, summary, refusal: "" };
  }

  const stopListening = listen(
    () => ({ topic: "logs", filter: { executionId }, afterSequence: last }),
    (events: readonly LiveEvent[]) => receive(events as unknown as readonly LogPart[]),
    {
      onRefusal: (refusal) => {
        state.value = { ...state.value, refusal };
      },
    },
  );

  const isTailed = signal(false);
  const stopTailing = effect(() => {
    // The browser does not ask again by itself for a stream that was refused.
    epoch.value;
    if (liveState.value !== "lost") return undefined;
    const tail = new EventSource(apiUrl(`executions/${executionId}/logs:tail`, { afterSequence: last }));
    const pending: LogPart[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    tail.onmessage = ({ data }) => {
      pending.push(JSON.parse(data));
      timer ??= setTimeout(() => {
        timer = undefined;
        receive(pending.splice(0));
      }, bunchMs);
    };
    tail.onopen = () => {
      isTailed.value = true;
    };
    tail.onerror = () => {
      isTailed.value = false;
    };
    return () => {
      clearTimeout(timer);
      tail.close();
      isTailed.value = false;
    };
  });

  function stop(): void {
    stopListening();
    stopTailing();
  }

  return {
    state,
    /** Whether what is written shows at once. */
    isLive: computed(() => liveState.value !== "lost" || isTailed.value),
    stop,
  };
}
