/** Facts on NATS JetStream: one stream per context, published as CloudEvents, consumed in batches, never lost. */
export type { NatsConnection } from "@nats-io/transport-node";
export { connectNats, type NatsOptions } from "./connection.ts";
export { type ConsumeOptions, consumeFacts, type FactConsumer } from "./consumer.ts";
export { type DeadLetter, listDeadLetters, replayDeadLetters } from "./deadLetter.ts";
export { type FactFollower, type FollowOptions, followFacts, openFacts } from "./followFacts.ts";
export { createPublisher, type Publish, type PublisherOptions } from "./publisher.ts";
export type { ReceivedFact } from "./receivedFact.ts";
export { ensureStream, type StreamTopology } from "./stream.ts";
export { StreamedFact, type StreamPlace } from "./streamedFact.ts";
export { factSubject } from "./subject.ts";
