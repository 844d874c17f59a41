/**
 * Clients that each follow one job, without a gap and without repetition: the numbers of its facts say what is missing, and what is
 * missing is read from the log, for many at once. An event costs what it is delivered to: followers are found by their job.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { notFound } from "@capstan/errors";
import type { JobEventCursor, JobEventPage } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import type { Logger } from "@capstan/service";
import { eventOfLog, type LiveEvent } from "./liveEvent.ts";
import type { Feed } from "./liveFeed.ts";

/** What becomes of one follower, in this order: begun or failed; then events; then ended. */
interface JobListener {
  /** The job is there. `sequence` is the number of its last fact. */
  onBegin(page: { readonly sequence: number; readonly hasEnded: boolean }): void;
  /** False if there is no room: the event comes again after `resume`. */
  take(event: LiveEvent): boolean;
  /** The job has ended and everything of it was taken. */
  onEnd(): void;
  /** It could not begin. */
  onFail(error: unknown): void;
}

interface FollowJob {
  readonly jobId: string;
  readonly tenant: string;
  /** Events after this number; null for the newest `replay` ones and those to come. */
  readonly afterSequence: number | null;
  readonly replay: number;
}

interface JobFollowing {
  /** There is room again. */
  resume(): void;
  stop(): void;
}

export interface JobFollowers {
  follow(wanted: FollowJob, listener: JobListener): JobFollowing;
  close(): void;
}

interface JobFollowersOptions {
  readonly feed: Pick<Feed, "listen" | "isOpen">;
  /** A page for each cursor, in order. */
  readonly read: (cursors: readonly JobEventCursor[]) => Promise<readonly JobEventPage[]>;
  readonly log: Logger;
}

interface Follower extends FollowJob {
  readonly listener: JobListener;
  /** Of the last event that was taken; -1 before it has begun. */
  last: number;
  /** Of the newest event that we know of. */
  seen: number;
  /** What comes waits until the log was read. */
  isBehind: boolean;
  isBlocked: boolean;
  isStopped: boolean;
}

const readAtOnce = 500;
/** While the feed stands still the log is looked at as often as this. */
const pollMs = 2_000;
const longestPauseMs = 2_000;
const nothing = 2 ** 31 - 1;

export function createJobFollowers({ feed, read, log }: JobFollowersOptions): JobFollowers {
  const byJob = new Map<string, Set<Follower>>();
  const behind = new Set<Follower>();
  const closing = new AbortController();
  let listening: { stop(): void } | null = null;
  let polling: NodeJS.Timeout | null = null;
  let isReading = false;

  const everybody = () => [...byJob.values()].flatMap((followers) => [...followers]);

  function fallBehind(follower: Follower): void {
    follower.isBehind = true;
    if (follower.isBlocked) return;
    behind.add(follower);
    void readOn();
  }

  function poll(isWanted: boolean): void {
    if (polling !== null) clearInterval(polling);
    polling = isWanted ? setInterval(() => everybody().forEach(fallBehind), pollMs).unref() : null;
  }

  function listen(): void {
    if (listening !== null) return;
    listening = feed.listen({
      onEvent,
      onOpen() {
        poll(false);
        everybody().forEach(fallBehind);
      },
      onLost: () => poll(true),
    });
    // It may have been lost before, or never opened.
    if (!feed.isOpen) poll(true);
  }

  function onEvent(event: LiveEvent): void {
    const followers = byJob.get(event.subject);
    if (followers === undefined) return;
    const { sequence } = event;
    for (const follower of followers) {
      follower.seen = Math.max(follower.seen, sequence);
      if (follower.isBehind || sequence <= follower.last) continue;
      if (sequence > follower.last + 1) fallBehind(follower);
      else give(follower, event, sequence, event.endsJob);
    }
  }

  /** False if it was not taken, or was the last. */
  function give(follower: Follower, event: LiveEvent, sequence: number, isLast: boolean): boolean {
    if (!follower.listener.take(event)) {
      follower.isBlocked = true;
      follower.isBehind = true;
      behind.delete(follower);
      return false;
    }
    follower.last = sequence;
    if (isLast) end(follower);
    return !isLast;
  }

  function end(follower: Follower): void {
    stop(follower);
    follower.listener.onEnd();
  }

  function stop(follower: Follower): void {
    if (follower.isStopped) return;
    follower.isStopped = true;
    behind.delete(follower);
    const followers = byJob.get(follower.jobId);
    followers?.delete(follower);
    if (followers?.size === 0) byJob.delete(follower.jobId);
    if (byJob.size > 0) return;
    listening?.stop();
    listening = null;
    poll(false);
  }

  async function readOn(): Promise<void> {
    if (isReading) return;
    isReading = true;
    // Those who come in the same turn of the event loop are read together.
    await Promise.resolve();
    for (let failures = 0; behind.size > 0 && !closing.signal.aborted; ) {
      const batch = [...behind].slice(0, readAtOnce);
      try {
        const pages = await read(batch.map(cursorOf));
        for (const [index, follower] of batch.entries()) apply(follower, pages[index]);
        failures = 0;
      } catch (error) {
        for (const follower of batch) if (follower.last < 0) fail(follower, error);
        if (failures === 0) log.warn({ err: error, followers: behind.size }, "facts of jobs cannot be read, trying on");
        failures += 1;
        const pauseMs = Math.min(longestPauseMs, 100 * 2 ** (failures - 1));
        await sleep(pauseMs, undefined, { signal: closing.signal }).catch(() => {});
      }
    }
    isReading = false;
  }

  function fail(follower: Follower, error: unknown): void {
    if (follower.isStopped) return;
    stop(follower);
    follower.listener.onFail(error);
  }

  function apply(follower: Follower, page: JobEventPage | undefined): void {
    if (follower.isStopped) return;
    if (page?.found !== true) return fail(follower, notFound("job", follower.jobId));
    const { sequence, hasEnded, events } = page;
    if (follower.last < 0) {
      // Without facts that are wanted again it begins with the next one.
      follower.last = follower.afterSequence ?? Math.max(0, sequence - follower.replay);
      follower.listener.onBegin({ sequence, hasEnded });
    }
    follower.seen = Math.max(follower.seen, sequence);
    for (const logged of events) {
      if (follower.isStopped) return;
      if (logged.sequence <= follower.last) continue;
      const event = eventOfLog(follower.jobId, follower.tenant, logged);
      if (!give(follower, event, logged.sequence, logged.isTerminal)) return;
    }
    if (follower.isStopped) return;
    if (hasEnded && follower.last >= sequence) return end(follower);
    // Put last, so that all get their turn.
    behind.delete(follower);
    follower.isBehind = follower.last < follower.seen;
    if (follower.isBehind) behind.add(follower);
  }

  return {
    follow(wanted, listener) {
      const follower: Follower = {
        ...wanted,
        listener,
        last: -1,
        seen: 0,
        isBehind: true,
        isBlocked: false,
        isStopped: false,
      };
      const followers = byJob.get(wanted.jobId) ?? new Set();
      byJob.set(wanted.jobId, followers.add(follower));
      listen();
      fallBehind(follower);
      return {
        resume() {
          if (!follower.isBlocked || follower.isStopped) return;
          follower.isBlocked = false;
          fallBehind(follower);
        },
        stop: () => stop(follower),
      };
    },
    close() {
      closing.abort();
      for (const follower of everybody()) stop(follower);
    },
  };
}

/** One that has not begun asks for what it wants again; whoever wants nothing only learns whether there is such a job. */
function cursorOf({ jobId, last, afterSequence, replay }: Follower): JobEventCursor {
  const isNew = last < 0;
  const newest = isNew && afterSequence === null ? replay : 0;
  const from = isNew ? (afterSequence ?? (replay === 0 ? nothing : 0)) : last;
  return { jobId, afterSequence: from, newest, onlyLabels: false };
}
