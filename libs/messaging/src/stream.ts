/**
 * The stream of a context. It is a transport that can be built again from Postgres: bounded in age and size, and full means that
 * publishing is refused, not that unread facts are dropped.
 */
import { DomainError } from "@capstan/errors";
import type { Log } from "@capstan/postgres";
import {
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { contextSubjects, streamName } from "./subject.ts";

export interface StreamTopology {
  readonly context: string;
  /** 1 when absent; 3 on a cluster. */
  readonly replicas?: number;
  /** 1 GiB when absent. */
  readonly maxBytes?: number;
}

const day = 24 * 3_600_000;

/** How long a fact stays on its stream, in milliseconds. */
export const streamMaxAgeMs = 7 * day;

/** Only what nats-server 2.9 knows. */
function wantedConfig({ context, replicas = 1, maxBytes = 1024 ** 3 }: StreamTopology) {
  return {
    name: streamName(context),
    subjects: [contextSubjects(context)],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_age: nanos(streamMaxAgeMs),
    max_bytes: maxBytes,
    max_msg_size: 512 * 1024,
    duplicate_window: nanos(10 * 60_000),
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
    num_replicas: replicas,
  } satisfies Partial<StreamConfig>;
}

/**
 * Makes the stream if it is missing. One that exists is never changed: any difference from what we want is refused, field by field,
 * because a stream that somebody set up otherwise may drop facts. `created` tells whether it is still the stream of before.
 */
export async function ensureStream(
  nc: NatsConnection,
  topology: StreamTopology,
  log: Log,
): Promise<{ created: Date; isNew: boolean; lastSequence: number; takesBatches: boolean }> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const wanted = wantedConfig(topology);
  const found = await findStream(manager, wanted.name);
  const info = found ?? (await manager.streams.add({ ...wanted, ...faster(nc) }));
  refuseDifferences(wanted.name, wanted, info.config);
  if (found === null) log.info({ stream: wanted.name }, "stream was created");
  const takesBatches = info.config.allow_atomic === true;
  return { created: new Date(info.created), isNew: found === null, lastSequence: info.state.last_seq, takesBatches };
}

/**
 * When the fact was written that has this number in the stream, by the clock of Postgres; null if it is not there. What the broker calls
 * its time is when it came, which may be long after: facts that wait for a broker that is away come late, and all at once.
 */
export async function timeOfFact(nc: NatsConnection, context: string, sequence: number): Promise<Date | null> {
  if (sequence < 1) return null;
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const message = await manager.streams.getMessage(streamName(context), { seq: sequence });
  const time = new Date(message?.header.get("ce-time") ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? null : time;
}

/** Where a consumer that is ahead of its stream begins anew: what was delivered and not acknowledged comes again. */
export function startBehind({ ack_floor }: ConsumerInfo, lastSequence: number) {
  const opt_start_seq = Math.min(ack_floor.stream_seq, lastSequence) + 1;
  return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq } as const;
}

/**
 * Consumers that have been given more than the stream holds, or held before it lost what came after `lastKept`, made anew behind what they
 * have done of it; gives back their names. Before 2.12 a server does not notice that a stream lost its tail, and they would pass over
 * everything that takes the same numbers. Call it before anything is published again.
 */
export async function recreateConsumersAhead(
  nc: NatsConnection,
  context: string,
  lastKept: number,
): Promise<readonly string[]> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const stream = streamName(context);
  const recreated: string[] = [];
  const consumers = await Array.fromAsync(manager.consumers.list(stream));
  // Read after them: what is published and given out meanwhile puts nobody ahead.
  const { state } = await manager.streams.info(stream);
  const lastSequence = Math.min(state.last_seq, lastKept);
  for (const consumer of consumers) {
    const { config, delivered, name } = consumer;
    if (delivered.stream_seq <= lastSequence || config.durable_name === undefined) continue;
    await manager.consumers.delete(stream, name);
    const { opt_start_time: _, ...settings } = config;
    await manager.consumers.add(stream, { ...settings, ...startBehind(consumer, lastSequence) });
    recreated.push(name);
  }
  return recreated;
}

/** What newer servers do to be faster; nothing depends on it, and a stream that was made without stays without. */
function faster(nc: NatsConnection): Partial<StreamConfig> {
  return isServerAtLeast(nc, 2, 12) ? { allow_atomic: true } : {};
}

/** Whether the server we are connected to has this version or a later one. */
export function isServerAtLeast(nc: NatsConnection, major: number, minor: number): boolean {
  const [theirMajor = 0, theirMinor = 0] = (nc.info?.version ?? "").split(".").map(Number);
  return theirMajor > major || (theirMajor === major && theirMinor >= minor);
}

async function findStream(manager: JetStreamManager, name: string): Promise<StreamInfo | null> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return null;
    throw error;
  }
}

export function isApiError(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

/** Compares what we want with what the server has; used for consumers too. */
export function refuseDifferences(name: string, wanted: object, found: object): void {
  const theirs = new Map<string, unknown>(Object.entries(found));
  const differences = Object.entries(wanted)
    .map(([field, value]) => ({
      field,
      ours: JSON.stringify(value),
      theirs: JSON.stringify(theirs.get(field) ?? null),
    }))
    .filter(({ ours, theirs: other }) => ours !== other);
  if (differences.length === 0) return;
  const list = differences.map(({ field, ours, theirs: other }) => `${field} is ${other}, must be ${ours}`);
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "TOPOLOGY_DIFFERS",
    message: `${name} on the nats server is set up otherwise: ${list.join("; ")}`,
    metadata: Object.fromEntries(differences.map(({ field, theirs: other }) => [field, other])),
  });
}
