/** Ends of jobs as anybody can see them: by their facts on NATS. */
import type { NatsConnection } from "@nats-io/transport-node";
import type { Ends } from "./ends.ts";

/**
 * Tells `ends` of each job that succeeds, and fails it with any that ends otherwise; gives back how to stop. By id, because what a
 * publisher repeats reaches subscribers twice although the stream keeps it once.
 */
export async function countFacts(nats: NatsConnection, ends: Ends): Promise<() => void> {
  const seen = new Set<string>();
  const succeeded = nats.subscribe("capstan.v1.*.job.job.succeeded.*", {
    callback: (_, { subject }) => {
      if (seen.has(subject)) return;
      seen.add(subject);
      ends.add(1);
    },
  });
  const others = ["failed", "cancelled", "timed_out"].map((event) =>
    nats.subscribe(`capstan.v1.*.job.job.${event}.*`, {
      callback: (_, message) => ends.fail(new Error(`${message.subject}: ${message.string()}`)),
    }),
  );
  await nats.flush();
  return () => {
    for (const subscription of [succeeded, ...others]) subscription.unsubscribe();
  };
}
