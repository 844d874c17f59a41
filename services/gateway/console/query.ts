/**
 * Reads something and keeps it fresh: at once, again when its key changes, every so often while the page is visible, and whenever
 * something may have been missed. What was read stays shown while it is read again, also when that fails.
 */
import { effect, signal, untracked } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { messageOf } from "./api.ts";
import { epoch } from "./connection.ts";

export interface Query<T> {
  /** What was read last; undefined before the first answer. */
  readonly data: T | undefined;
  /** Why the last try failed; null if it did not. */
  readonly error: Error | null;
  reload(): void;
}

export interface QueryOptions {
  /** Reads again after so long. Absent: only when asked. */
  readonly everyMs?: number;
}

/** Grows each second while the page is visible; ages are shown by it. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1_000);

/** What `load` gives for this key. An empty key reads nothing. */
export function useQuery<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  { everyMs }: QueryOptions = {},
): Query<T> {
  const [state, setState] = useState<{ key: string; data?: T; error: Error | null }>({ key, error: null });
  const current = useRef(load);
  current.current = load;
  const reload = useRef(() => {});

  useEffect(() => {
    if (key === "") return undefined;
    let controller: AbortController | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isStopped = false;

    async function read(): Promise<void> {
      clearTimeout(timer);
      controller?.abort();
      const mine = new AbortController();
      controller = mine;
      setState((before) => (before.key === key ? before : { key, error: null }));
      try {
        const data = await current.current(mine.signal);
        if (!mine.signal.aborted) setState({ key, data, error: null });
      } catch (error) {
        if (mine.signal.aborted) return;
        const failure = error instanceof Error ? error : new Error(messageOf(error));
        setState((before) => ({ ...before, key, error: failure }));
      }
      if (!isStopped && everyMs !== undefined) timer = setTimeout(again, everyMs);
    }
    function again(): void {
      if (document.hidden) document.addEventListener("visibilitychange", again, { once: true });
      else if (!isStopped) void read();
    }

    reload.current = () => void read();
    const stopWatching = effect(() => {
      epoch.value;
      untracked(() => void read());
    });
    return () => {
      isStopped = true;
      stopWatching();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", again);
      controller?.abort();
    };
  }, [key, everyMs]);

  const isCurrent = state.key === key;
  return {
    data: isCurrent ? state.data : undefined,
    error: isCurrent ? state.error : null,
    reload: () => reload.current(),
  };
}
