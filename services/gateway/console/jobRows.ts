/**
 * The rows of a list of jobs, kept small so that 100,000 of them fit: loaded in pages as one scrolls, changed by the facts that come
 * live, and read anew at the top while one looks there. Further down nothing moves under the reader; that there is more is told.
 */
import { effect, signal, untracked } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get } from "./api.ts";
import { epoch } from "./connection.ts";
import type { Job } from "./json.ts";
import { type LiveEvent, useLive } from "./live.ts";

export interface JobRow {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  readonly message: string;
  readonly queue: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createTime: string | undefined;
  readonly startTime: string | undefined;
  readonly endTime: string | undefined;
  readonly steps: number;
  readonly endedSteps: number;
  readonly isPaused: boolean;
}

export interface JobList {
  readonly rows: readonly JobRow[];
  readonly error: Error | null;
  /** True until the first page is there. */
  readonly isLoading: boolean;
  readonly hasMore: boolean;
  /** Something has happened that is not shown, because one has scrolled away from it. */
  readonly hasNews: boolean;
}

const endedSteps = /_(SUCCEEDED|FAILED|CANCELLED|TIMED_OUT|SKIPPED)$/;
const endedJob = /^JOB_STATE_(SUCCEEDED|FAILED|CANCELLED|TIMED_OUT)$/;
const pageSize = 500;
const topSize = 100;
const topPixels = 600;
const refreshMs = 1_500;

/** Whether a job can still change. */
export function hasEnded(state: string): boolean {
  return endedJob.test(state);
}

export function toRow(job: Job): JobRow {
  const steps = job.steps ?? [];
  return {
    id: job.id ?? "",
    name: job.spec?.name ?? "",
    state: job.state ?? "",
    reason: job.reason ?? "",
    message: job.message ?? "",
    queue: job.spec?.queue || "default",
    labels: job.spec?.labels ?? {},
    createTime: job.createTime,
    startTime: job.startTime,
    endTime: job.endTime,
    steps: steps.length,
    endedSteps: steps.filter(({ state }) => endedSteps.test(state ?? "")).length,
    isPaused: job.pauseTime !== undefined,
  };
}

/** A row after a fact of its job. Facts of steps bring the job's state too. */
export function withFact(row: JobRow, { type, time, data }: LiveEvent): JobRow {
  const state = typeof data?.["state"] === "string" ? data["state"] : row.state;
  if (hasEnded(row.state)) return row;
  const isEnd = hasEnded(state);
  return {
    ...row,
    state,
    reason: type.includes(".job.") ? String(data?.["reason"] ?? "") : row.reason,
    message: type.includes(".job.") ? String(data?.["message"] ?? "") : row.message,
    startTime: row.startTime ?? (state === "JOB_STATE_RUNNING" ? time : undefined),
    endTime: isEnd ? time : undefined,
    endedSteps: isEnd ? row.steps : row.endedSteps,
    isPaused: type.endsWith("job.paused") || (row.isPaused && !type.endsWith("job.resumed") && !isEnd),
  };
}

/** New rows before old ones: what was read anew takes the place of what was there up to its last row. */
export function mergeTop(fresh: readonly JobRow[], old: readonly JobRow[]): readonly JobRow[] | null {
  const last = fresh.at(-1);
  const at = last === undefined ? -1 : old.findIndex(({ id }) => id === last.id);
  return at < 0 ? null : [...fresh, ...old.slice(at + 1)];
}

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

  /** One call at a time, so that answers cannot overtake each other. */
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
  const refresh = () =>
    alone(async () => {
      isStale = false;
      refreshed = Date.now();
      const page = await read(topSize, "");
      const fresh = (page.jobs ?? []).map(toRow);
      const next = page.nextPageToken ?? "";
      const merged = next === "" ? fresh : mergeTop(fresh, list.value.rows);
      if (merged === null || merged.length === fresh.length) token = next;
      list.value = { rows: merged ?? fresh, error: null, isLoading: false, hasMore: token !== "", hasNews: false };
    });

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
      if (!document.hidden || window.scrollY <= topPixels) jobs.refreshSoon();
    };
    document.addEventListener("visibilitychange", back);
    // What no fact tells, as that a job was removed by retention, and all of it while there is no live connection.
    const timer = setInterval(back, 15_000);
    return () => {
      document.removeEventListener("visibilitychange", back);
      clearInterval(timer);
    };
  }, [jobs]);
  useEffect(() => () => current.current?.jobs.stop(), []);
  useLive({ topic: "jobs" }, jobs.apply, jobs.refreshSoon);
  return jobs;
}
