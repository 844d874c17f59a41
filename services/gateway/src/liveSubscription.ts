/** What a WebSocket subscribed to: one of four topics, each begun with `subscribed` and ended by the client or by its end. */
import { DomainError } from "@capstan/errors";
import type { LiveDeps } from "./liveDeps.ts";
import type { LiveEvent } from "./liveEvent.ts";
import { liveContexts } from "./liveFeeds.ts";
import { createJobMatcher, createMatcher, hasLabels } from "./liveFilter.ts";
import type { KnownLabels } from "./liveLabels.ts";
import { openLog } from "./liveLog.ts";
import { answers, type Subscribe } from "./liveMessage.ts";
import type { Channel, Outlet } from "./liveOutlet.ts";

interface SubscriptionListener {
  readonly outlet: Outlet;
  onBegin(): void;
  onEnd(): void;
  onFail(error: unknown): void;
}

export interface Subscription {
  stop(): void;
}

/** How long a subscription to many jobs waits for NATS to be there. */
const readyMs = 10_000;
/** Events that wait for the labels of their jobs. */
const maxUndecided = 1_000;

/** Begins a subscription; all it tells comes later than this returns. */
export function openSubscription(wanted: Subscribe, listener: SubscriptionListener, deps: LiveDeps): Subscription {
  if (wanted.topic === "job") return subscribeToJob(wanted, listener, deps);
  return wanted.topic === "logs" ? subscribeToLog(wanted, listener, deps) : subscribeToMany(wanted, listener, deps);
}

/** The frame of an event; subscriptions that are called alike share it. */
function frameOf(event: LiveEvent, id: string): Buffer {
  return event.frame(id, (json) => `{"type":"event","id":"${id}","event":${json}}`);
}

/** Without a gap: what has no room is read again from the log. */
function subscribeToJob(wanted: Subscribe, listener: SubscriptionListener, { jobFollowers }: LiveDeps): Subscription {
  const { id, filter, afterSequence, replay } = wanted;
  const { outlet } = listener;
  const matches = createMatcher(filter);
  const following = jobFollowers.follow(
    { jobId: filter.jobId ?? "", tenant: "default", afterSequence, replay },
    {
      onBegin: listener.onBegin,
      take(event) {
        if (!outlet.hasRoom) {
          outlet.whenRoom(following.resume);
          return false;
        }
        if (matches(event)) outlet.sendEvent(frameOf(event, id));
        return true;
      },
      onEnd: listener.onEnd,
      onFail: listener.onFail,
    },
  );
  return following;
}

function subscribeToLog(wanted: Subscribe, listener: SubscriptionListener, { executions }: LiveDeps): Subscription {
  const { id, filter, afterSequence } = wanted;
  const { outlet } = listener;
  const stopping = new AbortController();
  const { signal } = stopping;

  async function run(): Promise<void> {
    const log = { executionId: filter.executionId ?? "", afterSequence: afterSequence ?? 0 };
    const parts = await openLog(executions, log, signal);
    if (signal.aborted) return;
    listener.onBegin();
    for await (const { json } of parts) {
      if (!outlet.hasRoom) await new Promise<void>((resolve) => outlet.whenRoom(resolve));
      if (signal.aborted) return;
      outlet.sendEvent(Buffer.from(`{"type":"event","id":"${id}","event":${json}}`));
    }
    listener.onEnd();
  }

  run().catch((error: unknown) => {
    if (!signal.aborted) listener.onFail(error);
  });
  return { stop: () => stopping.abort(new Error("unsubscribed")) };
}

/** What a slow client has no room for is left out, and it is told. */
function subscribeToMany(wanted: Subscribe, listener: SubscriptionListener, deps: LiveDeps): Subscription {
  const { id, topic, filter, replay } = wanted;
  const feeds = (topic === "jobs" ? (["job"] as const) : liveContexts).map((context) => deps.feeds.of(context));
  const stopping = new AbortController();
  const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(readyMs)]);
  const channel: Channel = {
    dropped: 0,
    isClosed: false,
    notice: (count) => JSON.stringify(answers.dropped(id, count)),
  };
  const matches = topic === "jobs" ? createJobMatcher(filter) : createMatcher(filter);
  const give = (event: LiveEvent) => listener.outlet.offer(channel, frameOf(event, id));
  const decide =
    filter.labels === undefined
      ? give
      : createLabelGate(filter.labels, deps.labels, listener.outlet, channel, stopping.signal, give);
  let isLive = false;
  const listenings = feeds.map((feed) =>
    feed.listen({
      onEvent(event) {
        if (isLive && !event.isRepeated && matches(event)) decide(event);
      },
    }),
  );

  function kept(): LiveEvent[] {
    const events = feeds.flatMap((feed) => feed.newest().filter(matches));
    // Of one context they are in order already; of several only the time tells.
    return feeds.length > 1 ? events.sort((one, other) => one.time - other.time) : events;
  }

  async function begin(): Promise<void> {
    await Promise.all(feeds.map((feed) => feed.ready(signal)));
    if (replay > 0 && filter.labels !== undefined) {
      await deps.labels.learn(
        kept().map(({ jobId }) => jobId),
        signal,
      );
    }
    if (stopping.signal.aborted) return;
    listener.onBegin();
    isLive = true;
    if (replay === 0) return;
    const events = kept().filter(
      (event) => filter.labels === undefined || hasLabels(deps.labels.of(event) ?? {}, filter.labels),
    );
    for (const event of events.slice(-replay)) give(event);
  }

  begin().catch((error: unknown) => {
    if (!stopping.signal.aborted) listener.onFail(signal.aborted ? natsAway() : error);
  });
  return {
    stop() {
      channel.isClosed = true;
      for (const listening of listenings) listening.stop();
      stopping.abort(new Error("unsubscribed"));
    },
  };
}

/** Gives on the events of jobs that have the labels, in their order; those of a job that is not known wait until it was asked for. */
function createLabelGate(
  wanted: Readonly<Record<string, string>>,
  labels: KnownLabels,
  outlet: Outlet,
  channel: Channel,
  signal: AbortSignal,
  give: (event: LiveEvent) => void,
): (event: LiveEvent) => void {
  let undecided: LiveEvent[] = [];

  async function decideAll(): Promise<void> {
    while (undecided.length > 0) {
      await labels.learn(
        undecided.map(({ jobId }) => jobId),
        signal,
      );
      const decided = undecided;
      undecided = [];
      for (const event of decided) if (!signal.aborted && hasLabels(labels.of(event) ?? {}, wanted)) give(event);
    }
  }

  // Learning fails with the subscription only.
  const forget = () => {
    undecided = [];
  };

  return (event) => {
    const known = undecided.length === 0 ? labels.of(event) : undefined;
    if (known !== undefined) {
      if (hasLabels(known, wanted)) give(event);
    } else if (undecided.length >= maxUndecided) {
      outlet.lose(channel);
    } else {
      undecided.push(event);
      if (undecided.length === 1) decideAll().catch(forget);
    }
  };
}

function natsAway(): DomainError {
  return new DomainError({
    code: "UNAVAILABLE",
    reason: "FACTS_UNAVAILABLE",
    message: "the stream of facts cannot be read at the moment; subscribe again",
    retryAfterMs: 2_000,
  });
}
