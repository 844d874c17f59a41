/** What JetStream holds and where its consumers stand, read from outside as any client may. Leaves nothing behind. */
import {
  type ConsumerInfo,
  DeliverPolicy,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { schemas } from "./invariant.ts";
import type { BrokerState, ConsumerState, StreamedFact, StreamState } from "./observed.ts";

const day = 24 * 3_600_000;
/** Facts stay on a stream for 7 days. */
const keptMs = 7 * day - 3_600_000;
/** What the clocks of Postgres and NATS may differ. */
const clockSlackMs = 60_000;

/** `limit`: of each stream the newest facts at most. */
export async function readBroker(nats: NatsConnection, limit = Number.POSITIVE_INFINITY): Promise<BrokerState> {
  const manager = await jetstreamManager(nats);
  const known = new Map(schemas.map((context) => [`CAPSTAN_${context.toUpperCase()}`, context as string]));
  const streams = (await listStreams(manager)).filter(({ config }) => known.has(config.name));
  const contextOf = ({ config }: StreamInfo) => known.get(config.name) ?? "";
  const read = await Promise.all(streams.map((stream) => readStream(nats, stream, contextOf(stream), limit)));
  const consumers = await readConsumersOf(manager, streams);
  return {
    facts: read.flatMap(({ facts }) => facts),
    streams: read.map(({ stream }) => stream),
    consumers,
  };
}

async function listStreams(manager: JetStreamManager): Promise<readonly StreamInfo[]> {
  const streams: StreamInfo[] = [];
  for await (const stream of manager.streams.list()) streams.push(stream);
  return streams;
}

/** The durable consumers of all streams, also those of others. */
export async function readConsumers(nats: NatsConnection): Promise<readonly ConsumerState[]> {
  const manager = await jetstreamManager(nats);
  return readConsumersOf(manager, await listStreams(manager));
}

async function readConsumersOf(
  manager: JetStreamManager,
  streams: readonly StreamInfo[],
): Promise<readonly ConsumerState[]> {
  const consumers = await Promise.all(streams.map(({ config: { name } }) => readConsumersOfStream(manager, name)));
  return consumers.flat();
}

async function readConsumersOfStream(manager: JetStreamManager, stream: string): Promise<readonly ConsumerState[]> {
  const consumers: ConsumerInfo[] = [];
  for await (const consumer of manager.consumers.list(stream)) consumers.push(consumer);
  // After its consumers: none can be ahead of it only because it was read earlier.
  const { state } = await manager.streams.info(stream);
  return consumers
    .filter(({ config }) => config.durable_name !== undefined)
    .map((consumer) => ({
      name: `${stream}/${consumer.name}`,
      delivered: consumer.delivered.stream_seq,
      acknowledged: consumer.ack_floor.stream_seq,
      lastPosition: state.last_seq,
      pending: consumer.num_pending,
      inHand: consumer.num_ack_pending,
    }));
}

async function readStream(
  nats: NatsConnection,
  { config, state }: StreamInfo,
  context: string,
  limit: number,
): Promise<{ readonly facts: readonly StreamedFact[]; readonly stream: StreamState }> {
  const first = Math.max(state.first_seq, state.last_seq - limit + 1);
  const isAll = first <= state.first_seq;
  const facts: StreamedFact[] = [];
  let firstTime: Date | null = null;
  const consumer = await jetstream(nats).consumers.get(config.name, {
    ...(isAll
      ? { deliver_policy: DeliverPolicy.All }
      : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: first }),
    headers_only: true,
  });
  // What comes while it is read is left for the next time: an end must be in sight.
  let left = (await consumer.info()).num_pending;
  while (left > 0) {
    const messages = await consumer.fetch({ max_messages: Math.min(left, 1_000), expires: 5_000 });
    let count = 0;
    for await (const message of messages) {
      const header = (name: string) => message.headers?.get(name) ?? "";
      firstTime ??= message.time;
      facts.push({
        context,
        position: message.seq,
        id: header("ce-id"),
        aggregateId: header("ce-subject"),
        sequence: Number(header("ce-sequence")),
        type: header("ce-type"),
      });
      count += 1;
    }
    left -= count;
    if (count === 0) break;
  }
  const oldestKept = Date.now() - keptMs;
  const oldestRead = isAll || firstTime === null ? 0 : firstTime.getTime() + clockSlackMs;
  return {
    facts,
    stream: { context, knownSince: new Date(Math.max(oldestKept, oldestRead)), isWhole: isAll && state.first_seq <= 1 },
  };
}
