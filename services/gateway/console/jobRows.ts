/**
 * The rows of a list of jobs, kept small so that 100,000 of them fit: loaded in pages as one scrolls, changed by the facts that come
 * live, and read anew at the top while one looks there. Further down nothing moves under the reader; that there is more is told.
 */
import { effect, signal, untracked } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get } from "./api.ts";
import { epoch } from "./connection.ts";
import { type JobRow, mergeTop, toRow, withFact } from "./jobMoves.ts";
import type { Job } from "./json.ts";
import { liveState, useLive } from "./live.ts";
import type { LiveEvent } from "./liveEvent.ts";

interface JobList {
  readonly rows: readonly JobRow[];
  readonly error: Error | null;
  /** True until the first page is there. */
  readonly isLoading: boolean;
  readonly hasMore: boolean;
  /** Something has happened that is not shown, because one has scrolled away from it. */
  readonly hasNews: boolean;
}

const pageSize = 500;
const topSize = 100;
const topPixels = 600;
const refreshMs = 1_500;

interface Page {
  readonly jobs?: readonly Job[];
  readonly nextPageToken?: string;
}

function createJobList(filter: string, orderBy: string) {
  const list = signal<JobList>({ rows: [], error: null, isLoading: true, hasMore: false, hasNews: false });
  const controller = new AbortController();
  let token = "";
  let isBusy = false;
  let isStale = false;
  let refreshed = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const read = (size: number, pageToken: string) =>
    get<Page>("jobs", { filter, orderBy, pageSize: size, pageToken }, controller.signal);

  /** One call at a time, so that answers cannot overtake each other; what was wanted meanwhile of the top is read after it. */
  async function alone(work: () => Promise<void>): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    try {
      await work();
    } catch (error) {
      if (controller.signal.aborted) return;
      list.value = { ...list.value, isLoading: false, error: error as Error };
    } finally {
      isBusy = false;
      if (isStale && !controller.signal.aborted) refreshSoon();
    }
  }

  const more = () =>
    alone(async () => {
      if (token === "") return;
      const page = await read(pageSize, token);
      token = page.nextPageToken ?? "";
      const rows = [...list.value.rows, ...(page.jobs ?? []).map(toRow)];
      list.value = { ...list.value, rows, hasMore: token !== "", error: null };
    });

  /** The first page again, from the top. */
  const refresh = () => {
    isStale = true;
    return alone(async () => {
      isStale = false;
      refreshed = Date.now();
      const page = await read(topSize, "");
      const fresh = (page.jobs ?? []).map(toRow);
      const next = page.nextPageToken ?? "";
      const merged = next === "" ? fresh : mergeTop(fresh, list.value.rows);
      if (merged === null || merged.length === fresh.length) token = next;
      list.value = { rows: merged ?? fresh, error: null, isLoading: false, hasMore: token !== "", hasNews: false };
    });
  };

  function refreshSoon(): void {
    isStale = true;
    if (window.scrollY > topPixels) {
      if (!list.value.hasNews) list.value = { ...list.value, hasNews: true };
      return;
    }
    if (timer !== undefined) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        if (isStale && !document.hidden) void refresh();
      },
      Math.max(100, refreshed + refreshMs - Date.now()),
    );
  }

  function apply(events: readonly LiveEvent[]): void {
    const byJob = Map.groupBy(events, (event) => event.correlationid ?? String(event.data?.["jobId"] ?? ""));
    const rows = list.value.rows.map((row) => (byJob.get(row.id) ?? []).reduce(withFact, row));
    list.value = { ...list.value, rows };
    refreshSoon();
  }

  return {
    list,
    more: () => void more(),
    refresh: () => void refresh(),
    refreshSoon,
    apply,
    stop: () => {
      clearTimeout(timer);
      controller.abort();
    },
  };
}

/** Jobs that match a filter, in an order of the API. */
export function useJobRows(filter: string, orderBy: string) {
  const key = `${filter}\n${orderBy}`;
  const current = useRef<{ key: string; jobs: ReturnType<typeof createJobList> } | null>(null);
  if (current.current?.key !== key) {
    current.current?.jobs.stop();
    current.current = { key, jobs: createJobList(filter, orderBy) };
  }
  const { jobs } = current.current;
  useEffect(
    () =>
      effect(() => {
        epoch.value;
        untracked(jobs.refresh);
      }),
    [jobs],
  );
  useEffect(() => {
    const back = () => {
      if (!document.hidden && window.scrollY <= topPixels) jobs.refreshSoon();
    };
    document.addEventListener("visibilitychange", back);
    let ticks = 0;
    // Now and then for what no fact tells, as that a job was removed by retention; often while there is no live connection.
    const timer = setInterval(() => {
      ticks += 1;
      if (liveState.value !== "on" || ticks % 5 === 0) back();
    }, 3_000);
    return () => {
      document.removeEventListener("visibilitychange", back);
      clearInterval(timer);
    };
  }, [jobs]);
  useEffect(() => () => current.current?.jobs.stop(), []);
  useLive({ topic: "jobs" }, jobs.apply, jobs.refreshSoon);
  return jobs;
}
