/** Opens a stream to be read from a place on by an ordered consumer: no acks, and nothing of it outlives its reader for long. */
import { type Consumer, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { StreamPlace } from "./streamedFact.ts";
import { streamName } from "./subject.ts";

/** After a fact, or so many facts before the end. */
export type StreamStart = { readonly after: StreamPlace } | { readonly newest: number };

export interface OpenedStream {
  readonly epoch: number;
  /** The first fact that comes is after this one. */
  readonly sequence: number;
  /** Of the last fact that the stream has now. */
  readonly lastSequence: number;
  /**
   * What became of the stream since the place to start after: it goes on (`same`); its oldest facts are gone, some of them not read
   * (`expired`); or it was lost, wholly or its tail, and what it held is published again (`rebuilt`).
   */
  readonly since: "same" | "expired" | "rebuilt";
  readonly consumer: Consumer;
}

const forgottenAfterMs = 30_000;

/** Throws while NATS or the stream is away. */
export async function openStream(nc: NatsConnection, context: string, start: StreamStart): Promise<OpenedStream> {
  const stream = streamName(context);
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const { created, state } = await manager.streams.info(stream);
  const epoch = new Date(created).getTime();
  const { first_seq: first, last_seq: last } = state;
  const { sequence, since } = startOf(start, { epoch, first, last });
  const consumer = await jetstream(nc).consumers.get(stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: sequence + 1,
    inactive_threshold: forgottenAfterMs,
  });
  return { epoch, sequence, lastSequence: last, since, consumer };
}

function startOf(
  start: StreamStart,
  { epoch, first, last }: { readonly epoch: number; readonly first: number; readonly last: number },
): Pick<OpenedStream, "sequence" | "since"> {
  const beforeFirst = Math.max(0, first - 1);
  if ("newest" in start) return { sequence: Math.max(beforeFirst, last - start.newest), since: "same" };
  const { after } = start;
  if (after.epoch !== epoch) return { sequence: beforeFirst, since: "rebuilt" };
  // A server that lost its power may have lost the last facts; what is published again takes their numbers.
  if (after.sequence > last) return { sequence: last, since: "rebuilt" };
  if (after.sequence < beforeFirst) return { sequence: beforeFirst, since: "expired" };
  return { sequence: after.sequence, since: "same" };
}
