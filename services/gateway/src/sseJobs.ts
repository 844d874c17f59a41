/**
 * The facts of all jobs for one client of Server-Sent Events. It stands at a place of the stream: while it keeps up it gets what the feed
 * gives, and when it was away, or reads slowly, it reads on from there by itself, out of what the feed keeps or out of the stream.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type NatsConnection, openFacts, type StreamPlace } from "@capstan/messaging";
import { eventOfFact, type LiveEvent } from "./liveEvent.ts";
import type { Feed } from "./liveFeed.ts";
import { createJobMatcher, hasLabels, type LiveFilter } from "./liveFilter.ts";
import type { KnownLabels } from "./liveLabels.ts";
import { slackMs } from "./liveRecall.ts";
import type { SseStream } from "./sseStream.ts";

/** Where a client stands: a place, and the time of the last fact it saw, which tells it again what it has when the stream is lost. */
export interface Position extends StreamPlace {
  /** Milliseconds since 1970. */
  readonly time: number;
}

export const positionText = ({ epoch, sequence, time }: Position) =>
  `${epoch.toString(36)}-${sequence}-${time.toString(36)}`;

/** Null if the text is no position. */
export function readPosition(text: string): Position | null {
  const [, epoch, sequence, time] = /^([0-9a-z]{1,10})-(\d{1,15})-([0-9a-z]{1,10})$/.exec(text) ?? [];
  if (epoch === undefined || sequence === undefined || time === undefined) return null;
  return { epoch: Number.parseInt(epoch, 36), sequence: Number(sequence), time: Number.parseInt(time, 36) };
}

interface WatchJobs {
  readonly feed: Feed;
  readonly nc: NatsConnection;
  readonly labels: KnownLabels;
  readonly stream: SseStream;
  readonly filter: LiveFilter;
  /** Null to begin with the newest `replay` events that are wanted, and those to come. */
  readonly position: Position | null;
  readonly replay: number;
}

const pauseMs = 500;

/** Begins at once; ends with the stream. `place` is where the client stands, as text; "" until that is known. */
export function watchJobs(options: WatchJobs): { place(): string } {
  const { feed, nc, labels, stream, filter, replay } = options;
  const { signal } = stream;
  const matches = createJobMatcher(filter);
  const sinceTime = options.position?.time ?? Date.now();
  let position = options.position;
  let isLive = false;
  /** Of a stream that was made anew while we looked on: what is published again there we have told. */
  let toldEpoch: number | null = null;
  /** Of a stream that was made anew while the client was away: what is older it has. */
  let from = { epoch: 0, time: 0 };
  let fallBack = () => {};

  /** Null if the labels of its job have to be asked for. */
  function isWanted(event: LiveEvent): boolean | null {
    if (event.isRepeated && event.place?.epoch === toldEpoch) return false;
    if (!matches(event)) return false;
    if (event.place?.epoch === from.epoch && event.time < from.time) return false;
    if (filter.labels === undefined) return true;
    const known = labels.of(event);
    return known === undefined ? null : hasLabels(known, filter.labels);
  }

  function pass(event: LiveEvent, isSent: boolean): void {
    if (event.place === null) return;
    position = { ...event.place, time: isSent ? event.time : (position?.time ?? sinceTime) };
    if (!isSent) return;
    const id = positionText(position);
    stream.sendEvent(event.frame("sse.place", (json) => `id: ${id}\ndata: ${json}\n\n`));
  }

  function onEvent(event: LiveEvent): void {
    if (!isLive) return;
    if (event.place !== null && event.place.epoch !== position?.epoch) toldEpoch = event.place.epoch;
    const wanted = isWanted(event);
    if (wanted === null || (wanted && !stream.hasRoom)) {
      isLive = false;
      fallBack();
    } else pass(event, wanted);
  }

  /** Sends what is kept, as far as it need not wait: what is kept may be other things by then. */
  async function sendKept(events: readonly LiveEvent[]): Promise<void> {
    for (const event of events) {
      const wanted = isWanted(event);
      if (wanted === null) {
        return labels.learn(unknownJobs(events), signal);
      }
      if (wanted && !stream.hasRoom) return stream.room();
      pass(event, wanted);
    }
  }

  function unknownJobs(events: readonly LiveEvent[]): readonly string[] {
    return events.filter((event) => isWanted(event) === null).map(({ jobId }) => jobId);
  }

  /** Until the feed has what follows. */
  async function readBack(before: Position): Promise<void> {
    const reading = new AbortController();
    const both = AbortSignal.any([signal, reading.signal]);
    const { facts, since, epoch } = await openFacts({ nc, context: "job", signal: both }, before);
    if (since === "expired") stream.send(`event: gap\ndata: {"reason":"EXPIRED"}\n\n`);
    // Everything comes again, in the order of time as good as that is known.
    if (since === "rebuilt") from = { epoch, time: before.time - slackMs };
    try {
      for await (const fact of facts) {
        const event = eventOfFact(fact);
        // The first fact of a job tells its labels, also where only later ones are wanted: nobody has to ask for them one by one.
        if (filter.labels !== undefined) labels.of(event);
        if (isWanted(event) === null) await labels.learn([event.jobId], signal);
        const wanted = isWanted(event) === true;
        if (wanted) await stream.room();
        signal.throwIfAborted();
        pass(event, wanted);
        if (feed.after(fact.place) !== null) return;
      }
    } finally {
      reading.abort();
    }
  }

  async function begin(): Promise<void> {
    await feed.ready(signal);
    if (position === null && replay > 0) await labels.learn(unknownJobs(feed.newest()), signal);
    const { place } = feed;
    if (position !== null || place === null) return;
    const kept = replay === 0 ? [] : feed.newest();
    const first = firstOf(kept, replay, (event) => isWanted(event) === true);
    const before = first?.place == null ? place : { ...first.place, sequence: first.place.sequence - 1 };
    position = { ...before, time: sinceTime };
    stream.send(`id: ${positionText(position)}\n\n`);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        await begin();
        if (position === null) continue;
        const kept = feed.after(position);
        if (kept === null) await readBack(position);
        else if (kept.length > 0) await sendKept(kept);
        else await untilFallenBack();
      } catch {
        if (signal.aborted) return;
        // NATS is away, and comes back.
        await sleep(pauseMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Nothing may happen between seeing that nothing is left and this. */
  function untilFallenBack(): Promise<void> {
    return new Promise((resolve) => {
      fallBack = resolve;
      isLive = true;
    });
  }

  const listening = feed.listen({ onEvent });
  signal.addEventListener("abort", () => {
    listening.stop();
    fallBack();
  });
  void run();
  return { place: () => (position === null ? "" : positionText(position)) };
}

/** The first of the last `count` that are wanted. */
function firstOf(
  events: readonly LiveEvent[],
  count: number,
  isWanted: (event: LiveEvent) => boolean,
): LiveEvent | undefined {
  let found: LiveEvent | undefined;
  let left = count;
  for (let index = events.length - 1; index >= 0 && left > 0; index -= 1) {
    const event = events[index];
    if (event === undefined || !isWanted(event)) continue;
    found = event;
    left -= 1;
  }
  return found;
}
