/** What the streams hold and where consumers stand, read with a plain client. */
import { AckPolicy, DeliverPolicy, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

export interface StreamMessage {
  readonly context: string;
  /** In the stream. */
  readonly position: number;
  readonly id: string;
  readonly aggregateId: string;
  readonly sequence: number;
  readonly type: string;
}

export interface ConsumerSeen {
  readonly name: string;
  readonly delivered: number;
  readonly pending: number;
  readonly inHand: number;
  /** The last position of its stream. */
  readonly last: number;
}

export interface Streams {
  readonly messages: readonly StreamMessage[];
  readonly consumers: readonly ConsumerSeen[];
}

const prefix = "CAPSTAN_";
const batch = 2_000;

/** Everything that the streams of the services hold. */
export async function readStreams(url: string): Promise<Streams> {
  const nats = await connect({ servers: url, timeout: 10_000 });
  try {
    const manager = await jetstreamManager(nats);
    const messages: StreamMessage[] = [];
    const consumers: ConsumerSeen[] = [];
    for await (const { config, state } of manager.streams.list()) {
      if (!config.name.startsWith(prefix)) continue;
      consumers.push(...(await readConsumers(manager, config.name, state.last_seq)));
      if (state.messages === 0) continue;
      // One by one: a long run has more than fit on the stack.
      for (const message of await readMessages(nats, manager, config.name, state.last_seq)) messages.push(message);
    }
    return { messages, consumers };
  } finally {
    await nats.close();
  }
}

async function readConsumers(manager: JetStreamManager, stream: string, last: number): Promise<ConsumerSeen[]> {
  const seen: ConsumerSeen[] = [];
  for await (const { name, delivered, num_pending: pending, num_ack_pending: inHand } of manager.consumers.list(stream))
    seen.push({ name: `${stream}/${name}`, delivered: delivered.stream_seq, pending, inHand, last });
  return seen;
}

/** Headers only: they name the fact, its aggregate and its number. */
async function readMessages(
  nats: Parameters<typeof jetstream>[0],
  manager: JetStreamManager,
  stream: string,
  last: number,
): Promise<StreamMessage[]> {
  const { name } = await manager.consumers.add(stream, {
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.All,
    headers_only: true,
    mem_storage: true,
    inactive_threshold: 60_000_000_000,
  });
  const consumer = await jetstream(nats).consumers.get(stream, name);
  const context = stream.slice(prefix.length).toLowerCase();
  const messages: StreamMessage[] = [];
  for (;;) {
    let position = messages.at(-1)?.position ?? 0;
    const before = messages.length;
    for await (const message of await consumer.fetch({ max_messages: batch, expires: 5_000 })) {
      const header = (key: string) => message.headers?.get(key) ?? "";
      position = message.seq;
      messages.push({
        context,
        position,
        id: header("ce-id"),
        aggregateId: header("ce-subject"),
        sequence: Number(header("ce-sequence")),
        type: header("ce-type"),
      });
      if (position >= last) break;
    }
    if (position >= last || messages.length === before) break;
  }
  await manager.consumers.delete(stream, name).catch(() => {});
  return messages;
}
