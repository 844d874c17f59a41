/** Facts on NATS JetStream: one stream per context, published as CloudEvents, consumed in batches, never lost. */
export type { NatsConnection } from "@nats-io/transport-node";
export { connectNats } from "./connection.ts";
export { consumeFacts } from "./consumer.ts";
export { type DeadLetter, listDeadLetters, replayDeadLetters } from "./deadLetter.ts";
export { type FactFollower, type FollowOptions, followFacts, openFacts } from "./followFacts.ts";
export { createPublisher, type Publish } from "./publisher.ts";
export type { ReceivedFact } from "./receivedFact.ts";
export { ensureStream } from "./stream.ts";
export { StreamedFact, type StreamPlace } from "./streamedFact.ts";
