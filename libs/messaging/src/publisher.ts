/**
 * Publishes the facts of one context for its relay: as one batch where the server takes them so. Otherwise many are in flight, but of
 * one aggregate only one: the next goes out when the one before it is stored, so that a failure never puts a younger fact before
 * an older one.
 */
import type { Log, Pool, StoredFact } from "@capstan/postgres";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Counter } from "@opentelemetry/api";
import { type AckInbox, connectionLost, noStream, openAckInbox, type PublishFailure } from "./ackInbox.ts";
import { encodeHeaders } from "./cloudEvent.ts";
import { createPublishedCounter } from "./metrics.ts";
import { batchesOf, publishBatch } from "./publishBatch.ts";
import { watchStream } from "./streamWatch.ts";
import { factSubject } from "./subject.ts";

interface PublisherOptions {
  readonly nc: NatsConnection;
  readonly context: string;
  /** Of the schema of the context: where the lost is listed for publishing again. */
  readonly db: Pool;
  readonly log: Log;
  /** Of the stream; 1 when absent. */
  readonly replicas?: number;
}

/** Answers for each fact whether it is stored; what was not acknowledged within the deadline counts as not stored. */
export type Publish = (facts: readonly StoredFact[]) => Promise<readonly boolean[]>;

const deadlineMs = 5_000;
const noAnswer = `no answer within ${deadlineMs} ms`;

/**
 * Gives back what `startRelay` needs. Makes the stream, watches that it stays the same one, and has everything published again when
 * it does not. While that is unclear, or NATS is away, it answers "not stored" at once. One call at a time.
 */
export function createPublisher({ nc, context, db, log, replicas = 1 }: PublisherOptions): Publish {
  const inbox = openAckInbox(nc, context, (lastKept) => watch.noteLoss(lastKept));
  const watch = watchStream({ nc, topology: { context, replicas }, db, log, onLoss: inbox.countAnew });
  const published = createPublishedCounter();
  let isFailing = false;

  async function publishTogether(facts: readonly StoredFact[]): Promise<PublishFailure> {
    for (const batch of batchesOf(facts)) {
      const failure = await publishBatch(nc, inbox, context, batch).catch(String);
      if (failure !== null) return failure;
    }
    return null;
  }

  /** Together if that can be; if not, each by itself, and JetStream drops those that are stored already. */
  async function publishIn(
    facts: readonly StoredFact[],
    stored: boolean[],
    late: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    if (facts.length > 1 && watch.takesBatches()) {
      const failure = await publishTogether(facts);
      if (failure === null) stored.fill(true);
      // What is said now would be said on the next connection, before its stream was looked at, and perhaps to nobody.
      if (failure === null || failure === connectionLost) return [failure];
    }
    return Promise.all(lanesOf(facts).map((lane) => publishLane(inbox, context, facts, lane, stored, late)));
  }

  return async (facts) => {
    if (!watch.isUsable()) return facts.map(() => false);
    // Whatever waits then is answered, and nothing waits any more: where others listen to a subject that no stream takes, nobody
    // tells us that it is missing.
    const late = new AbortController();
    const deadline = setTimeout(() => {
      late.abort();
      inbox.giveUp(noAnswer);
    }, deadlineMs);
    const stored = facts.map(() => false);
    const outcomes = await publishIn(facts, stored, late.signal);
    clearTimeout(deadline);
    count(published, context, stored);
    const failure = outcomes.find((outcome) => outcome !== null) ?? null;
    if (failure !== null) {
      if (!isFailing) log.warn({ context, failure }, "facts could not be published, they wait");
      watch.check(failure === noStream ? "stream is missing" : "publishing failed");
    }
    isFailing = failure !== null;
    return stored;
  };
}

/** The places of the facts, one lane for each aggregate. */
function lanesOf(facts: readonly StoredFact[]): readonly (readonly number[])[] {
  const lanes = new Map<string, number[]>();
  for (const [at, { aggregateId }] of facts.entries()) {
    const lane = lanes.get(aggregateId);
    if (lane === undefined) lanes.set(aggregateId, [at]);
    else lane.push(at);
  }
  return [...lanes.values()];
}

/** One fact after the other, and none after a failure, which it gives back; marks in `stored` what was acknowledged. */
async function publishLane(
  inbox: AckInbox,
  context: string,
  facts: readonly StoredFact[],
  lane: readonly number[],
  stored: boolean[],
  late: AbortSignal,
): Promise<PublishFailure> {
  for (const at of lane) {
    const fact = facts[at];
    if (fact === undefined) continue;
    if (late.aborted) return noAnswer;
    try {
      const failure = await inbox.publish(factSubject(context, fact), Buffer.from(fact.json), encodeHeaders(fact));
      if (failure !== null) return failure;
      stored[at] = true;
    } catch (error) {
      return String(error);
    }
  }
  return null;
}

function count(published: Counter, context: string, stored: readonly boolean[]): void {
  const acknowledged = stored.filter(Boolean).length;
  published.add(acknowledged, { context, acknowledged: true });
  if (acknowledged < stored.length) published.add(stored.length - acknowledged, { context, acknowledged: false });
}
