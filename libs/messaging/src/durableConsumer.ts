/** The durable consumer of a stream: shared by all replicas of a service, explicit acks, no limit of deliveries. */
import type { Log } from "@capstan/postgres";
import {
  AckPolicy,
  type Consumer,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  JetStreamApiCodes,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  ReplayPolicy,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { isApiError, isServerAtLeast, refuseDifferences, startBehind } from "./stream.ts";
import { streamName } from "./subject.ts";

export interface DurableOptions {
  readonly nc: NatsConnection;
  readonly context: string;
  readonly durable: string;
  /** Subjects of any contexts; those of this one are taken. None of it: everything. */
  readonly filterSubjects: readonly string[];
  readonly ackWaitMs: number;
  readonly log: Log;
}

/**
 * Makes the consumer if it is missing, which then begins with all that the stream holds. One with other settings is refused, field
 * by field, but for the filters and the ack wait, which are changed. Throws while the stream is missing; its owner makes that.
 */
export async function openDurable(options: DurableOptions): Promise<Consumer> {
  const manager = await jetstreamManager(options.nc, { checkAPI: false });
  const stream = streamName(options.context);
  const wanted = wantedConfig(options);
  const filters = wantedFilters(options);
  // In this order: a living stream only grows, so that a consumer is not taken for one ahead of it that other replicas move meanwhile.
  const found = await findConsumer(manager, stream, options.durable);
  const { state } = await manager.streams.info(stream);
  // Before 2.12 a consumer does not notice that the stream lost its tail with a power cut, and skips what takes the same numbers.
  const isAhead = found !== null && found.delivered.stream_seq > state.last_seq;
  if (isAhead) await manager.consumers.delete(stream, options.durable);
  const start = isAhead ? startBehind(found, state.last_seq) : { deliver_policy: DeliverPolicy.All };
  const isNew = found === null || isAhead;
  const info = isNew ? await manager.consumers.add(stream, { ...wanted, ...filters, ...start }) : found;
  const { ack_wait, ...fixed } = wanted;
  refuseDifferences(`consumer ${options.durable} of ${stream}`, fixed, info.config);
  // Less is wanted than before, or the server has learnt to filter: what it sends too much is passed over all the same.
  if (!isNew && (filtersOf(info.config) !== filtersOf(filters) || info.config.ack_wait !== ack_wait)) {
    // The client lays these over what is there, and the server takes one kind of filter only.
    const none = { filter_subject: undefined, filter_subjects: undefined };
    await manager.consumers.update(stream, options.durable, {
      ...none,
      ...filters,
      ack_wait,
    } as Partial<ConsumerConfig>);
  }
  if (isNew) options.log.info({ stream, durable: options.durable, isAhead }, "consumer was created");
  return jetstream(options.nc).consumers.getConsumerFromInfo(info);
}

function wantedConfig({ durable, ackWaitMs }: DurableOptions) {
  return {
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ackWaitMs),
    max_ack_pending: 2_000,
    max_deliver: -1,
    replay_policy: ReplayPolicy.Instant,
  } satisfies Partial<ConsumerConfig>;
}

/** One filter any server knows; for several it needs 2.10, and an older one sends everything. */
function wantedFilters({ nc, context, filterSubjects }: DurableOptions): Partial<ConsumerConfig> {
  const filters = filterSubjects.filter((subject) => subject.split(".")[3] === context);
  const [first] = filters;
  if (first !== undefined && filters.length === 1) return { filter_subject: first };
  return filters.length > 1 && isServerAtLeast(nc, 2, 10) ? { filter_subjects: filters } : {};
}

function filtersOf({ filter_subject, filter_subjects = [] }: Partial<ConsumerConfig>): string {
  return [...(filter_subject === undefined ? [] : [filter_subject]), ...filter_subjects].sort().join(" ");
}

async function findConsumer(manager: JetStreamManager, stream: string, durable: string): Promise<ConsumerInfo | null> {
  try {
    return await manager.consumers.info(stream, durable);
  } catch (error) {
    if (isApiError(error, JetStreamApiCodes.ConsumerNotFound)) return null;
    throw error;
  }
}
