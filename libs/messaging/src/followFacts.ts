/**
 * The facts of a context as they are published, for a process that passes them on and keeps nothing: each of its replicas sees them
 * all. Goes on after any outage where it stood; who follows is told when that was not possible.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "@capstan/postgres";
import type { ConsumerMessages } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { pauseMs } from "./handleBatch.ts";
import { type OpenedStream, openStream, type StreamStart } from "./openStream.ts";
import { StreamedFact, type StreamPlace } from "./streamedFact.ts";

export interface FollowOptions {
  readonly nc: NatsConnection;
  readonly context: string;
  /** How many facts before the end to begin with; those that came before it was opened among them. */
  readonly newest: number;
  /** In the order of the stream, in the turn of the event loop in which it came. Not awaited, and must not throw. */
  readonly onFact: (fact: StreamedFact) => void;
  /** Reading begins, or goes on after it stood still; what comes next is after `sequence`. */
  readonly onOpen: (opened: Omit<OpenedStream, "consumer">) => void;
  /** Reading stands still, until `onOpen`. */
  readonly onLost: () => void;
  readonly log: Log;
}

export interface FactFollower {
  stop(): Promise<void>;
}

/** Starts at once and goes on until it is stopped, whatever happens to the server or the stream. */
export function followFacts({ nc, context, newest, onFact, onOpen, onLost, log }: FollowOptions): FactFollower {
  const stopping = new AbortController();
  const { signal } = stopping;
  const status = nc.status();
  let messages: ConsumerMessages | null = null;
  let place: StreamPlace | null = null;
  let isOpen = false;
  let lastError = "";

  function lose(): void {
    if (!isOpen) return;
    isOpen = false;
    onLost();
  }

  /** The client would sit out a pause, and ask for facts that a rebuilt stream does not have yet. */
  async function reopenOnReconnect(): Promise<void> {
    for await (const { type } of status) {
      if (type === "disconnect") lose();
      if (type === "reconnect") void messages?.close();
    }
  }

  async function readOnce(): Promise<void> {
    const start: StreamStart = place === null ? { newest } : { after: place };
    const { consumer, ...opened } = await openStream(nc, context, start);
    const { epoch } = opened;
    try {
      if (signal.aborted) return;
      place = { epoch, sequence: opened.sequence };
      isOpen = true;
      lastError = "";
      onOpen(opened);
      messages = await consumer.consume({
        max_messages: 512,
        threshold_messages: 256,
        expires: 10_000,
        abort_on_missing_resource: true,
        callback: (message) => {
          if (!isOpen) return;
          const fact = new StreamedFact(message, epoch);
          place = fact.place;
          onFact(fact);
        },
      });
      if (signal.aborted) void messages.close();
      const failure = await messages.closed();
      if (failure instanceof Error) throw failure;
    } finally {
      messages = null;
      lose();
      if (!nc.isClosed() && !nc.isDraining()) void consumer.delete().catch(() => {});
    }
  }

  async function readForEver(): Promise<void> {
    for (let failures = 0; !signal.aborted && !nc.isClosed(); ) {
      const before = place;
      try {
        await readOnce();
        failures = 0;
      } catch (error) {
        failures = place === before ? failures + 1 : 1;
        if (String(error) !== lastError) log.warn({ err: error, context }, "facts cannot be followed, trying on");
        lastError = String(error);
      }
      await sleep(failures === 0 ? 0 : pauseMs(failures), undefined, { signal }).catch(() => {});
    }
  }

  void reopenOnReconnect();
  const ended = readForEver();
  return {
    async stop() {
      stopping.abort();
      (status as { stop?: () => void }).stop?.();
      void messages?.close();
      await ended;
    },
  };
}

/** The facts after a place as fast as they are taken, and then those that are published; ends when the signal aborts. */
export async function openFacts(
  { nc, context, signal }: Pick<FollowOptions, "nc" | "context"> & { readonly signal: AbortSignal },
  after: StreamPlace,
): Promise<Omit<OpenedStream, "consumer"> & { readonly facts: AsyncGenerator<StreamedFact> }> {
  const { consumer, ...opened } = await openStream(nc, context, { after });
  async function* read(): AsyncGenerator<StreamedFact> {
    const messages = await consumer.consume({ max_messages: 256, expires: 10_000, abort_on_missing_resource: true });
    const close = () => void messages.close();
    signal.addEventListener("abort", close);
    try {
      if (signal.aborted) return;
      for await (const message of messages) yield new StreamedFact(message, opened.epoch);
    } finally {
      signal.removeEventListener("abort", close);
      close();
      if (!nc.isClosed() && !nc.isDraining()) void consumer.delete().catch(() => {});
    }
  }
  return { ...opened, facts: read() };
}
