/**
 * Consumes the facts of other contexts in batches: whatever has arrived while the batch before was handled makes the next one. The
 * order of a stream is kept as long as one replica consumes it; a fact may arrive again, and it is acked after it was handled.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Failpoints, failpoints } from "@capstan/failpoints";
import type { Log, Pool } from "@capstan/postgres";
import type { JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { decodeFact, readHeaders } from "./cloudEvent.ts";
import { insertDeadLetter } from "./deadLetter.ts";
import { startFetching } from "./fetchMessages.ts";
import { type Held, handleBatch } from "./handleBatch.ts";
import { createMessageQueue } from "./messageQueue.ts";
import { type ConsumerCounters, createConsumerCounters, startLagGauge } from "./metrics.ts";
import type { ReceivedFact } from "./receivedFact.ts";
import { createSuspects, suspectAfter } from "./suspects.ts";

export interface ConsumeOptions {
  readonly nc: NatsConnection;
  /** Of the consumer's own schema: where dead letters are kept. */
  readonly db: Pool;
  /** The contexts whose facts are wanted; each has its own stream and its own durable consumer. */
  readonly contexts: readonly string[];
  /** The same in all replicas of a service, which share the facts then. */
  readonly durable: string;
  /** Subjects with wildcards, each with its context written out; of a context that none names, everything is wanted. */
  readonly filterSubjects?: readonly string[];
  /**
   * Facts of one context in the order of its stream; those of several contexts come at the same time. When it resolves they are
   * done for good. See `handleBatch` for what a throw does.
   */
  readonly handle: (facts: readonly ReceivedFact[]) => Promise<void>;
  /** Facts in one call at most; 256 when absent. */
  readonly maxBatch?: number;
  /** After this a fact whose holder died goes to another replica, 10 s when absent; a living one says in time that it still works. */
  readonly ackWaitMs?: number;
  readonly log: Log;
}

export interface FactConsumer {
  /** Lets the batches in hand finish; what was not begun goes back to the broker. */
  stop(): Promise<void>;
  /** False while a stream cannot be read, and while a batch has been failing for 30 s. */
  isHealthy(): boolean;
}

const unhealthyAfterMs = 30_000;

/** Starts consuming at once and goes on whatever happens to the server, the stream or the consumer, until it is stopped. */
export function consumeFacts(options: ConsumeOptions): FactConsumer {
  const stopping = new AbortController();
  const counters = createConsumerCounters();
  const lanes = options.contexts.map((context) => startLane(options, context, counters, stopping.signal));
  return {
    stop: async () => {
      stopping.abort();
      await Promise.all(lanes.map((lane) => lane.ended));
      // So that the acks are out before the connection is closed; a server that is away does not get them anyway.
      await Promise.race([options.nc.flush().catch(() => {}), sleep(1_000)]);
    },
    isHealthy: () => lanes.every((lane) => lane.isHealthy()),
  };
}

/** One stream: a loop that fetches into a short queue, and a loop that handles what is in it. */
function startLane(options: ConsumeOptions, context: string, counters: ConsumerCounters, signal: AbortSignal) {
  const { nc, durable, log, filterSubjects = [], maxBatch = 256, ackWaitMs = 10_000 } = options;
  const queue = createMessageQueue<JsMsg>(2 * maxBatch);
  const topology = { nc, context, durable, filterSubjects, ackWaitMs, log };
  const handle = failpoints === null ? options.handle : failingHandle(failpoints, options);
  const fetching = startFetching({ ...topology, maxBatch, push: queue.push, signal });
  startLagGauge(topology, signal);
  signal.addEventListener("abort", queue.close);
  const handleSuspect = createSuspects(options.db, durable, handle);
  let inHand: readonly JsMsg[] = [];
  let troubleSince: number | null = null;

  const pause = async (ms: number) => void (await sleep(ms, undefined, { signal }));
  function onTrouble(error: unknown): void {
    if (error !== null && troubleSince === null) {
      log.warn({ err: error, context, durable }, "facts cannot be handled, trying again");
    }
    troubleSince = error === null ? null : (troubleSince ?? Date.now());
  }

  async function handleForEver(): Promise<void> {
    for (;;) {
      inHand = await queue.take(maxBatch);
      if (inHand.length === 0) return;
      for (const part of partsOf(inHand)) {
        const held = part.map((message) => hold(message, options, counters));
        const isSuspect = part.some(isSuspected);
        await handleBatch(held, { handle: isSuspect ? handleSuspect : handle, pause, onTrouble });
      }
      counters.consumed.add(inHand.length, { context, durable });
      inHand = []; // or an ack that was lost would be made up for never: it is said of what is in hand that it is worked at
    }
  }

  /** Tells the broker about all that is held; it changes nothing on what was acked. A closed connection would throw. */
  function tellOfHeld(tell: (message: JsMsg) => void): void {
    if (canTell(nc)) for (const message of [...inHand, ...queue.waiting()]) tell(message);
  }

  const keepAlive = setInterval(() => tellOfHeld((message) => message.working()), ackWaitMs / 3);

  async function run(): Promise<void> {
    await Promise.all([
      fetching.ended,
      handleForEver().catch((error) => {
        if (!signal.aborted) throw error;
      }),
    ]);
    clearInterval(keepAlive);
    tellOfHeld((message) => message.nak());
  }

  return {
    ended: run(),
    isHealthy: () => fetching.isOpen() && (troubleSince === null || Date.now() - troubleSince < unhealthyAfterMs),
  };
}

function isSuspected({ info }: JsMsg): boolean {
  return info.deliveryCount > suspectAfter;
}

/** In their order: each suspect by itself, and what stands between them together. */
function partsOf(messages: readonly JsMsg[]): readonly (readonly JsMsg[])[] {
  if (!messages.some(isSuspected)) return [messages];
  const parts: JsMsg[][] = [];
  let isTogether = false;
  for (const message of messages) {
    const isAlone = isSuspected(message);
    if (isTogether && !isAlone) parts.at(-1)?.push(message);
    else parts.push([message]);
    isTogether = !isAlone;
  }
  return parts;
}

function canTell(nc: NatsConnection): boolean {
  return !nc.isClosed() && !nc.isDraining();
}

/** Whatever fails it, the ack is lost: it is sent once, and nobody waits for it. */
function failingAck({ around }: Failpoints, durable: string, ack: () => void): () => void {
  return () => void around("ack", durable, async () => ack()).catch(() => {});
}

function failingHandle({ around }: Failpoints, { durable, handle }: ConsumeOptions): ConsumeOptions["handle"] {
  return (facts) => {
    const words = () => facts.flatMap(({ noun, event, aggregateId }) => [`${noun}.${event}`, aggregateId]);
    return around("handle", durable, () => handle(facts), { words });
  };
}

function hold(
  message: JsMsg,
  { nc, db, durable, log }: ConsumeOptions,
  counters: ConsumerCounters,
): Held<ReceivedFact> {
  const { stream, streamSequence, deliveryCount: deliveries } = message.info;
  const tellDone = () => {
    if (canTell(nc)) message.ack();
  };
  const ack = failpoints === null ? tellDone : failingAck(failpoints, durable, tellDone);
  return {
    fact: decode(message),
    ack,
    setAside: async (reason) => {
      const headers = readHeaders(message);
      const { subject, data } = message;
      await insertDeadLetter(db, { durable, stream, streamSequence, subject, headers, data, deliveries }, reason);
      ack();
      counters.setAside.add(1, { stream, durable });
      log.error({ err: reason, stream, streamSequence, subject, durable }, "fact was set aside as a dead letter");
    },
  };
}

function decode(message: JsMsg): ReceivedFact | Error {
  const { stream, streamSequence, deliveryCount: deliveries } = message.info;
  try {
    return decodeFact(message, { stream, streamSequence, deliveries });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
