/** What JetStream holds and where its consumers stand, read from outside with a client of the test's own. */
import { DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { serviceNames } from "./serviceProcess.ts";

/** A fact as its stream has it; everything from its CloudEvents headers. */
export interface StreamedFact {
  readonly context: string;
  /** Its number in the stream. */
  readonly position: number;
  readonly id: string;
  readonly aggregateId: string;
  readonly sequence: number;
  readonly type: string;
}

export interface ConsumerState {
  /** `<stream>/<durable>` */
  readonly name: string;
  /** The last position it was given. */
  readonly delivered: number;
  readonly lastPosition: number;
  readonly pending: number;
  readonly inHand: number;
}

export interface BrokerState {
  readonly facts: readonly StreamedFact[];
  readonly consumers: readonly ConsumerState[];
}

export const streamOf = (context: string) => `CAPSTAN_${context.toUpperCase()}`;

/** Connects, hands the connection over, and closes it. */
export async function withNats<T>(url: string, work: (nats: NatsConnection) => Promise<T>): Promise<T> {
  const nats = await connect({ servers: url, name: "test", maxReconnectAttempts: -1 });
  try {
    return await work(nats);
  } finally {
    await nats.close();
  }
}

export function readBroker(url: string): Promise<BrokerState> {
  return withNats(url, async (nats) => {
    const facts = await Promise.all(serviceNames.map((context) => readStream(nats, context)));
    return { facts: facts.flat(), consumers: await readConsumers(nats) };
  });
}

/** The durable consumers of all streams. */
export async function readConsumers(nats: NatsConnection): Promise<readonly ConsumerState[]> {
  const manager = await jetstreamManager(nats);
  const streams = await manager.streams.list().next();
  const states = streams.map(async ({ config, state }) => {
    const consumers = await manager.consumers.list(config.name).next();
    return consumers
      .filter(({ config: { durable_name: durable } }) => durable !== undefined)
      .map((consumer) => ({
        name: `${config.name}/${consumer.name}`,
        delivered: consumer.delivered.stream_seq,
        lastPosition: state.last_seq,
        pending: consumer.num_pending,
        inHand: consumer.num_ack_pending,
      }));
  });
  return (await Promise.all(states)).flat();
}

/** A stream that was deleted is as good as empty: it is made again when there is something to publish. */
async function readStream(nats: NatsConnection, context: string): Promise<readonly StreamedFact[]> {
  const names = await (await jetstreamManager(nats)).streams.names().next();
  if (!names.includes(streamOf(context))) return [];
  const options = { deliver_policy: DeliverPolicy.All, headers_only: true };
  const consumer = await jetstream(nats).consumers.get(streamOf(context), options);
  const facts: StreamedFact[] = [];
  let left = (await consumer.info()).num_pending;
  while (left > 0) {
    const messages = await consumer.fetch({ max_messages: Math.min(left, 1_000), expires: 5_000 });
    for await (const message of messages) {
      const header = (name: string) => message.headers?.get(name) ?? "";
      facts.push({
        context,
        position: message.seq,
        id: header("ce-id"),
        aggregateId: header("ce-subject"),
        sequence: Number(header("ce-sequence")),
        type: header("ce-type"),
      });
      left = message.info.pending;
    }
  }
  return facts;
}

/** A message of a stream, whole. */
export interface StreamedMessage {
  readonly subject: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly data: unknown;
}

/** What the stream of a context holds on one subject, in its order. */
export function readSubject(url: string, context: string, subject: string): Promise<readonly StreamedMessage[]> {
  return withNats(url, async (nats) => {
    const options = { deliver_policy: DeliverPolicy.All, filter_subjects: [subject] };
    const consumer = await jetstream(nats).consumers.get(streamOf(context), options);
    const count = (await consumer.info()).num_pending;
    const messages: StreamedMessage[] = [];
    if (count === 0) return messages;
    for await (const message of await consumer.fetch({ max_messages: count, expires: 5_000 })) {
      const headers = Object.fromEntries([...(message.headers ?? [])].map(([name, [value = ""]]) => [name, value]));
      messages.push({ subject: message.subject, headers, data: message.json() });
      if (messages.length === count) break;
    }
    return messages;
  });
}
