/**
 * Publishes facts as one atomic batch of JetStream (nats-server 2.12 and later, ADR-50): all are stored in their order or none is, and
 * the broker answers once. That costs a fifth to a half of publishing them one by one.
 */
import { randomUUID } from "node:crypto";
import type { StoredFact } from "@capstan/postgres";
import type { NatsConnection } from "@nats-io/transport-node";
import type { AckInbox, PublishFailure } from "./ackInbox.ts";
import { encodeHeaders } from "./cloudEvent.ts";
import { factSubject } from "./subject.ts";

/** Bytes of data in one batch at most: the server holds them until the last has come. */
const maxBatchBytes = 4 * 1024 * 1024;

/** The facts in batches that may go together; one fact alone is no batch. */
export function batchesOf(facts: readonly StoredFact[]): readonly (readonly StoredFact[])[] {
  const batches: StoredFact[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const fact of facts) {
    bytes += fact.json.length;
    if (bytes > maxBatchBytes) {
      batches.push([]);
      bytes = fact.json.length;
    }
    batches.at(-1)?.push(fact);
  }
  return batches;
}

/** Null: all are stored. Otherwise nobody knows of any, or none is: one that was stored before keeps the others out. */
export async function publishBatch(
  nc: NatsConnection,
  inbox: AckInbox,
  context: string,
  batch: readonly StoredFact[],
): Promise<PublishFailure> {
  const id = randomUUID();
  const last = batch.length - 1;
  for (const [at, fact] of batch.entries()) {
    const place = { id, sequence: at + 1, isLast: at === last };
    const [subject, body, headers] = [factSubject(context, fact), Buffer.from(fact.json), encodeHeaders(fact, place)];
    if (at === last) return inbox.publish(subject, body, headers);
    nc.publish(subject, body, { headers });
  }
  return null;
}
