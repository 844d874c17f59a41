/**
 * The labels of jobs, for filters by label: only the first fact of a job tells them. They never change, so that what was asked once is
 * remembered; bounded, the longest unused half goes first.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { JobEventCursor, JobEventPage } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { coalesce } from "@capstan/service";
import type { LiveEvent } from "./liveEvent.ts";

export type Labels = Readonly<Record<string, string>>;

export interface KnownLabels {
  /** Of the event's job; undefined if they have to be asked for first. */
  of(event: LiveEvent): Labels | undefined;
  /** Resolves when they are known, however long that takes; rejects with the signal's reason. */
  learn(jobIds: readonly string[], signal: AbortSignal): Promise<void>;
}

const noLabels: Labels = {};
const maxRemembered = 20_000;
const longestPauseMs = 2_000;

export function createKnownLabels(
  read: (cursors: readonly JobEventCursor[]) => Promise<readonly JobEventPage[]>,
): KnownLabels {
  let older = new Map<string, Labels>();
  let newer = new Map<string, Labels>();

  function remember(jobId: string, labels: Labels): Labels {
    newer.set(jobId, labels);
    if (newer.size >= maxRemembered) {
      older = newer;
      newer = new Map();
    }
    return labels;
  }

  const ask = coalesce(async (jobIds: readonly string[]) => {
    const cursors = jobIds.map((jobId) => ({ jobId, afterSequence: 0, newest: 0, onlyLabels: true }));
    const pages = await read(cursors);
    // A job that is not there any more has none.
    return jobIds.map((jobId, index) => remember(jobId, pages[index]?.labels ?? noLabels));
  });

  return {
    of(event) {
      const { jobId } = event;
      const known = newer.get(jobId) ?? older.get(jobId);
      if (known !== undefined) return known;
      if (event.noun !== "job" || event.event !== "submitted") return undefined;
      return remember(jobId, (event.data.labels ?? noLabels) as Labels);
    },
    async learn(jobIds, signal) {
      for (let pauseMs = 100; ; pauseMs = Math.min(longestPauseMs, 2 * pauseMs)) {
        signal.throwIfAborted();
        const unknown = [...new Set(jobIds)].filter((id) => !newer.has(id) && !older.has(id));
        if (unknown.length === 0) return;
        try {
          await Promise.all(unknown.map(ask));
          return;
        } catch {
          await sleep(pauseMs, undefined, { signal });
        }
      }
    },
  };
}
