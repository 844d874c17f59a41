/** What JetStream holds and where its consumers stand, read from outside with a client of the test's own. */
import { type BrokerState, readBroker as readStreams } from "@capstan/doctor";
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";

export { readConsumers } from "@capstan/doctor";

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
  return withNats(url, (nats) => readStreams(nats));
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
