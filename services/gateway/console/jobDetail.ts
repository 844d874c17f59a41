/**
 * One job with its facts, as it changes: read once, changed by each fact at once, and read anew soon after, because a fact does not tell
 * all (results, providers, counts of items).
 */
import { effect, signal, untracked } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { get } from "./api.ts";
import { epoch } from "./connection.ts";
import { applyFact, hasEnded } from "./jobMoves.ts";
import type { Execution, Fact, Job } from "./json.ts";
import { liveState, useLive } from "./live.ts";
import type { LiveEvent } from "./liveEvent.ts";

interface JobDetail {
  readonly job: Job | undefined;
  /** In order, from the first; at most `maxFacts`. */
  readonly facts: readonly Fact[];
  readonly error: Error | null;
}

export const maxFacts = 5_000;
const pageSize = 1_000;
const settleMs = 250;
const pollMs = 2_500;

function toFact({ id, type, time, sequence, data }: LiveEvent): Fact {
  return {
    id,
    type,
    sequence: Number(sequence ?? 0),
    ...(time === undefined ? {} : { time }),
    data: data ?? {},
  } as Fact;
}

function createJobDetail(id: string) {
  const detail = signal<JobDetail>({ job: undefined, facts: [], error: null });
  const controller = new AbortController();
  let isReading = false;
  let isWanted = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function readFacts(facts: readonly Fact[]): Promise<readonly Fact[]> {
    const all: Fact[] = [];
    let pageToken = "";
    // There is no way to ask for those after a sequence, and nearly always one page is all.
    do {
      const page: { events?: readonly Fact[]; nextPageToken?: string } = await get(
        `jobs/${id}/events`,
        { pageSize, pageToken },
        controller.signal,
      );
      all.push(...(page.events ?? []));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken !== "" && all.length < maxFacts);
    return all.length >= facts.length ? all : facts;
  }

  async function read(): Promise<void> {
    if (isReading) {
      isWanted = true;
      return;
    }
    isReading = true;
    try {
      const before = detail.value;
      const { job } = await get<{ job?: Job }>(`jobs/${id}`, {}, controller.signal);
      const isMissing = (before.facts.at(-1)?.sequence ?? 0) < (job?.sequence ?? 0) && before.facts.length < maxFacts;
      const facts = isMissing ? await readFacts(detail.value.facts) : detail.value.facts;
      // Facts that came meanwhile are newer than the answer.
      const newer = facts.reduce((current, fact) => (current === undefined ? current : applyFact(current, fact)), job);
      detail.value = { job: newer, facts, error: null };
    } catch (error) {
      if (!controller.signal.aborted) detail.value = { ...detail.value, error: error as Error };
    } finally {
      isReading = false;
      if (isWanted && !controller.signal.aborted) {
        isWanted = false;
        readSoon();
      }
    }
  }

  function readSoon(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      void read();
    }, settleMs);
  }

  function apply(events: readonly LiveEvent[]): void {
    const { job, facts, error } = detail.value;
    const last = facts.at(-1)?.sequence ?? 0;
    const fresh = events.map(toFact).filter(({ sequence = 0 }) => sequence > last);
    // With a gap only the whole is right.
    const isNext = fresh[0]?.sequence === last + 1;
    if (job !== undefined && isNext) {
      detail.value = { job: fresh.reduce(applyFact, job), facts: [...facts, ...fresh].slice(0, maxFacts), error };
    }
    readSoon();
  }

  return {
    detail,
    read: () => void read(),
    apply,
    readSoon,
    /** For when nothing comes live. */
    poll: () => {
      const state = detail.value.job?.state ?? "";
      if (liveState.value !== "on" && !document.hidden && !hasEnded(state)) void read();
    },
    stop: () => {
      clearTimeout(timer);
      controller.abort();
    },
  };
}

/** The job of this id; reads it as long as the component is shown. */
export function useJob(id: string) {
  const job = useMemo(() => createJobDetail(id), [id]);
  useEffect(() => {
    const stopReading = effect(() => {
      epoch.value;
      untracked(job.read);
    });
    const timer = setInterval(job.poll, pollMs);
    return () => {
      stopReading();
      clearInterval(timer);
      job.stop();
    };
  }, [job]);
  const isOver = hasEnded(job.detail.value.job?.state ?? "");
  useLive(isOver ? null : { topic: "job", filter: { jobId: id } }, job.apply, job.readSoon);
  return { ...job.detail.value, reload: job.read };
}

/** The attempts of one step, the first one first. */
export async function readAttempts(jobId: string, step: string, abort: AbortSignal): Promise<readonly Execution[]> {
  const filter = `job_id = ${JSON.stringify(jobId)} AND step = ${JSON.stringify(step)}`;
  const { executions = [] } = await get<{ executions?: readonly Execution[] }>(
    "executions",
    { filter, pageSize: 100 },
    abort,
  );
  return executions.toSorted((one, other) => (one.attempt ?? 0) - (other.attempt ?? 0));
}
