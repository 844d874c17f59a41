/** Logs of facts, the relays that publish them, and a broker that may forget, repeat and shuffle. */
import type { ReceivedFact } from "@capstan/messaging";
import type { Fact } from "@capstan/postgres";
import type { Process, Scheduler } from "./scheduler.ts";
import type { Defect } from "./simulate.ts";

export type Context = "job" | "execution";

interface Logged extends Fact {
  readonly timeMs: number;
}

/** What the schema of a context keeps of its facts. */
export interface FactLog {
  readonly facts: Logged[];
  outbox: Logged[];
  /** Call it in the transaction of the change. */
  append(facts: readonly Fact[]): void;
  /** Lists again what was written since. */
  requeue(sinceMs: number): void;
  /** Lists the terminal fact of an aggregate again. */
  requeueTerminal(aggregateId: string): void;
  knownEpoch: number;
  /** Grows when the list is made anew: what was to be taken off before then is no longer where it was. */
  listing: number;
  holder: { readonly process: Process; readonly incarnation: number } | null;
}

export function createLog(clock: () => number, violate: (what: string) => void): FactLog {
  const facts: Logged[] = [];
  const last = new Map<string, { sequence: number; isTerminal: boolean }>();
  const log: FactLog = {
    facts,
    outbox: [],
    append(fresh) {
      for (const fact of fresh) {
        const before = last.get(fact.aggregateId);
        if (fact.sequence !== (before?.sequence ?? 0) + 1) violate(`${fact.noun} ${fact.aggregateId} has a gap`);
        if (before?.isTerminal === true) violate(`${fact.noun}.${fact.event} after the end of ${fact.aggregateId}`);
        last.set(fact.aggregateId, { sequence: fact.sequence, isTerminal: fact.isTerminal === true });
        const logged = { ...fact, timeMs: clock() };
        facts.push(logged);
        log.outbox.push(logged);
      }
    },
    requeue(sinceMs) {
      const listed = new Set(log.outbox);
      log.outbox = facts.filter((fact) => listed.has(fact) || fact.timeMs >= sinceMs);
      log.listing += 1;
    },
    requeueTerminal(aggregateId) {
      const fact = facts.find((each) => each.aggregateId === aggregateId && each.isTerminal === true);
      if (fact !== undefined && !log.outbox.includes(fact)) log.outbox.push(fact);
    },
    knownEpoch: 0,
    listing: 0,
    holder: null,
  };
  return log;
}

interface Message {
  readonly number: number;
  readonly fact: Logged;
  isAcknowledged: boolean;
  /** When it is delivered again unless it was acknowledged; 0: it was not delivered. */
  againMs: number;
  deliveries: number;
}

export interface Broker {
  /** Which stream it is: one that was wiped is made anew by this. */
  look(context: Context): number;
  publish(context: Context, fact: Logged): void;
  /** Some of what is to be delivered, mostly in order. */
  fetch(context: Context): readonly ReceivedFact[];
  acknowledge(context: Context, facts: readonly ReceivedFact[]): void;
  /** All of it is gone. */
  wipe(context: Context): void;
  /** The last messages are gone; gives back when the last that is left was written. */
  loseTail(context: Context, count: number): void;
  /** Of a stream that has lost its tail: when the last that is left was written; null: nothing is known to be lost. */
  takeLoss(context: Context): number | null;
  /** Sequences of each aggregate in the order in which they were stored first. */
  arrivals(context: Context): ReadonlyMap<string, readonly number[]>;
  isDrained(): boolean;
}

/** As long as JetStream knows the id of a message. */
const duplicateWindowMs = 600_000;

export function createBroker({ random, now, ...scheduler }: Scheduler): Broker {
  const streams = { job: open(), execution: open() };

  function open() {
    return {
      epoch: 1,
      isNew: true,
      last: 0,
      messages: [] as Message[],
      seen: new Map<string, number>(),
      loss: null as number | null,
    };
  }

  return {
    look(context) {
      streams[context].isNew = false;
      return streams[context].epoch;
    },
    publish(context, fact) {
      const stream = streams[context];
      // Whoever publishes has lost its connection, or finds no stream, until it has looked at it anew.
      if (stream.isNew || stream.loss !== null) throw new Error("the stream has to be looked at first");
      const seenMs = stream.seen.get(fact.id);
      if (seenMs !== undefined && now() - seenMs < duplicateWindowMs) return;
      stream.seen.set(fact.id, now());
      stream.messages.push({ number: ++stream.last, fact, isAcknowledged: false, againMs: 0, deliveries: 0 });
    },
    fetch(context) {
      const { messages } = streams[context];
      const isChaotic = scheduler.isChaotic;
      const due = messages.filter(
        (message) => (!message.isAcknowledged && message.againMs <= now()) || (isChaotic && random.chance(0.0005)),
      );
      const some = due.slice(0, 1 + random.below(20));
      if (isChaotic && random.chance(0.2)) some.sort(() => random.below(3) - 1);
      return some.map((message) => {
        message.againMs = now() + 30_000;
        message.deliveries += 1;
        return received(context, message);
      });
    },
    acknowledge(context, facts) {
      const numbers = new Set(facts.map(({ streamSequence }) => streamSequence));
      for (const message of streams[context].messages) if (numbers.has(message.number)) message.isAcknowledged = true;
    },
    wipe(context) {
      streams[context] = { ...open(), epoch: streams[context].epoch + 1 };
    },
    loseTail(context, count) {
      const stream = streams[context];
      const lost = stream.messages.splice(Math.max(0, stream.messages.length - count));
      for (const { fact } of lost) stream.seen.delete(fact.id);
      const lastKept = stream.messages.at(-1)?.fact.timeMs ?? 0;
      stream.loss = Math.min(stream.loss ?? Number.POSITIVE_INFINITY, lastKept);
    },
    takeLoss(context) {
      const { loss } = streams[context];
      streams[context].loss = null;
      return loss;
    },
    arrivals(context) {
      const first = new Map<string, number[]>();
      for (const { fact } of streams[context].messages) {
        const sequences = first.get(fact.aggregateId) ?? [];
        if (!sequences.includes(fact.sequence)) sequences.push(fact.sequence);
        first.set(fact.aggregateId, sequences);
      }
      return first;
    },
    isDrained: () => Object.values(streams).every(({ messages }) => messages.every((each) => each.isAcknowledged)),
  };
}

function received(context: Context, { fact, number, deliveries }: Message): ReceivedFact {
  const { id, tenant, noun, event, aggregateId, sequence, correlationId, causationId, traceparent, data, timeMs } =
    fact;
  return {
    ...{ id, tenant, context, noun, event, aggregateId, sequence, correlationId, causationId, traceparent },
    type: `capstan.${context}.v1.${noun}.${event}`,
    time: new Date(timeMs),
    data: structuredClone(data),
    stream: context,
    streamSequence: number,
    deliveries,
  };
}

const orderSlackMs = 15_000;

/** Publishes what is listed, for ever; one process of a context at a time. */
export async function relay(
  process: Process,
  context: Context,
  {
    log,
    broker,
    scheduler,
    has,
  }: { log: FactLog; broker: Broker; scheduler: Scheduler; has: (defect: Defect) => boolean },
): Promise<void> {
  const { incarnation } = process;
  for (;;) {
    await scheduler.sleep(process, 20 + scheduler.random.below(200));
    let listing = 0;
    try {
      const listed = await scheduler.io(process, "relay lists", () => {
        const isFree = log.holder === null || log.holder.process.incarnation !== log.holder.incarnation;
        if (isFree) log.holder = { process, incarnation };
        if (log.holder?.process !== process) return [];
        const loss = broker.takeLoss(context);
        if (loss !== null && !has("tail is not published again")) log.requeue(loss - orderSlackMs);
        const epoch = broker.look(context);
        if (epoch !== log.knownEpoch && !has("wiped stream stays empty")) log.requeue(Number.NEGATIVE_INFINITY);
        log.knownEpoch = epoch;
        listing = log.listing;
        return log.outbox.slice(0, 10);
      });
      if (has("relay marks before it publishes") && listed.length > 0)
        await scheduler.io(process, "relay removes", () => remove(log, listing, listed));
      const stored: Logged[] = [];
      const failed = new Set<string>();
      for (const fact of listed) {
        if (failed.has(fact.aggregateId)) continue;
        const { aggregateId } = fact;
        const isStored = await scheduler
          .io(process, "publish", () => broker.publish(context, fact))
          .then(() => true)
          .catch(() => false);
        if (isStored) stored.push(fact);
        else failed.add(aggregateId);
      }
      if (stored.length > 0) await scheduler.io(process, "relay removes", () => remove(log, listing, stored));
    } catch {
      // Another pass does it again.
    }
  }
}

function remove(log: FactLog, listing: number, stored: readonly Logged[]): void {
  if (listing !== log.listing) return;
  const gone = new Set(stored);
  log.outbox = log.outbox.filter((fact) => !gone.has(fact));
}
