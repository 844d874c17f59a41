/**
 * The facts of a context as they are published, once for the whole process: read from the stream while somebody listens, and given to
 * each who does. The newest are kept, for those who want to see what just happened and those who were away for a moment.
 */
import {
  type FactFollower,
  followFacts,
  type NatsConnection,
  type StreamedFact,
  type StreamPlace,
} from "@capstan/messaging";
import type { Logger } from "@capstan/service";
import { eventOfFact, type LiveEvent } from "./liveEvent.ts";
import { createRecall, type Recall } from "./liveRecall.ts";

export interface FeedListener {
  /** Also what was given out before, which says so. */
  onEvent(event: LiveEvent): void;
  /** The feed is read, for the first time or again after it stood still: something may have been missed. */
  onOpen?(): void;
  onLost?(): void;
}

export interface Feed {
  /** Opens the feed with the first listener; it is closed some seconds after the last has left. */
  listen(listener: FeedListener): { stop(): void };
  /** False while it stands still: whoever listens is told when it is opened. */
  readonly isOpen: boolean;
  /** Resolves when the feed is read and the newest facts are known; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /** Of the last event that was given out; null while the feed is not read. */
  readonly place: StreamPlace | null;
  /** The kept events after a place, or null if some of these are not kept (any more). */
  after(place: StreamPlace): readonly LiveEvent[] | null;
  /** The kept events, oldest first. */
  newest(): readonly LiveEvent[];
  close(): Promise<void>;
}

/** Events that are kept, and their bytes at most. */
export const keptEvents = 2_000;
const keptBytes = 16 * 1024 * 1024;
const lingerMs = 5_000;

export function createFeed(options: {
  readonly nc: NatsConnection;
  readonly context: string;
  readonly log: Logger;
}): Feed {
  const { nc, context, log } = options;
  const listeners = new Set<FeedListener>();
  let follower: FactFollower | null = null;
  let closing: NodeJS.Timeout | null = null;
  let recall: Recall = createRecall(Date.now());
  let kept: LiveEvent[] = [];
  let keptSize = 0;
  let place: StreamPlace | null = null;
  /** Up to here the stream was when it was opened first; null until the newest are known. */
  let primedUntil: number | null = null;
  let isOpen = false;
  const waiting = new Set<() => void>();

  function keep(event: LiveEvent, bytes: number): void {
    kept.push(event);
    keptSize += bytes;
    // In portions, because taking the first of many away costs all the others.
    if (kept.length < 2 * keptEvents && keptSize < 2 * keptBytes) return;
    kept = kept.slice(keptSize >= 2 * keptBytes ? Math.ceil(kept.length / 2) : -keptEvents);
    keptSize /= 2;
  }

  function onFact(fact: StreamedFact): void {
    const event = eventOfFact(fact);
    event.isRepeated = recall.isRepeated(event.subject, event.sequence, () => event.time);
    keep(event, fact.bytes);
    place = fact.place;
    if (primedUntil !== null && fact.place.sequence <= primedUntil) return settle();
    for (const listener of listeners) listener.onEvent(event);
  }

  function settle(): void {
    if (!isOpen || (primedUntil !== null && (place?.sequence ?? 0) < primedUntil)) return;
    primedUntil = null;
    for (const resolve of waiting) resolve();
    waiting.clear();
  }

  function open(): void {
    recall = createRecall(Date.now());
    let isFirst = true;
    follower = followFacts({
      nc,
      context,
      newest: keptEvents,
      log,
      onFact,
      onOpen({ epoch, sequence, lastSequence, since }) {
        if (isFirst) primedUntil = lastSequence;
        else if (since === "rebuilt") {
          kept = [];
          keptSize = 0;
          recall.noteRebuilt();
        }
        isFirst = false;
        place = { epoch, sequence };
        isOpen = true;
        for (const listener of listeners) listener.onOpen?.();
        settle();
      },
      onLost() {
        isOpen = false;
        for (const listener of listeners) listener.onLost?.();
      },
    });
  }

  async function close(): Promise<void> {
    if (closing !== null) clearTimeout(closing);
    closing = null;
    const stopped = follower?.stop();
    follower = null;
    isOpen = false;
    place = null;
    primedUntil = null;
    kept = [];
    keptSize = 0;
    await stopped;
  }

  const isReady = () => isOpen && primedUntil === null;

  return {
    listen(listener) {
      listeners.add(listener);
      if (closing !== null) clearTimeout(closing);
      closing = null;
      if (follower === null) open();
      return {
        stop() {
          if (!listeners.delete(listener) || listeners.size > 0) return;
          closing = setTimeout(() => void close(), lingerMs).unref();
        },
      };
    },
    ready(signal) {
      if (isReady()) return Promise.resolve();
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const go = () => {
          signal.removeEventListener("abort", abort);
          resolve();
        };
        const abort = () => {
          waiting.delete(go);
          reject(signal.reason);
        };
        signal.addEventListener("abort", abort, { once: true });
        waiting.add(go);
      });
    },
    get isOpen() {
      return isOpen;
    },
    get place() {
      return isReady() ? place : null;
    },
    after({ epoch, sequence }) {
      if (!isReady() || place?.epoch !== epoch || sequence > place.sequence) return null;
      if (sequence === place.sequence) return [];
      const first = kept[0]?.place?.sequence ?? Number.POSITIVE_INFINITY;
      // Numbers in a stream have no gaps but those of facts that were deleted, which ours never are.
      return first > sequence + 1 ? null : kept.slice(sequence + 1 - first);
    },
    newest: () => kept.slice(-keptEvents),
    close,
  };
}
