/**
 * Figures of facts. The instruments are made when a publisher or a consumer starts, not when this file is loaded: what is made
 * before the process has started its metrics is seen by nobody.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { type Counter, metrics } from "@opentelemetry/api";
import { streamName } from "./subject.ts";

const meterName = "@capstan/messaging";

export function createPublishedCounter(): Counter {
  return metrics.getMeter(meterName).createCounter("capstan.facts.published", {
    description: "Facts offered to JetStream, by whether they were acknowledged",
  });
}

export interface ConsumerCounters {
  readonly consumed: Counter;
  readonly setAside: Counter;
}

export function createConsumerCounters(): ConsumerCounters {
  const meter = metrics.getMeter(meterName);
  return {
    consumed: meter.createCounter("capstan.facts.consumed", { description: "Facts handled or set aside" }),
    setAside: meter.createCounter("capstan.facts.dead_lettered", { description: "Facts set aside as dead letters" }),
  };
}

/** A scrape is not held up by a broker that does not answer. */
const patienceMs = 2_000;

/**
 * How many facts of a stream a durable consumer has not acknowledged; the broker is asked when somebody scrapes, and at no other time.
 * All replicas of a service tell the same figure. While the broker or the consumer is away it is NaN: the last one would pass for the
 * present one.
 */
export function startLagGauge(
  { nc, context, durable }: { readonly nc: NatsConnection; readonly context: string; readonly durable: string },
  signal: AbortSignal,
): void {
  let manager: JetStreamManager | undefined;
  const gauge = metrics.getMeter(meterName).createObservableGauge("capstan.consumer.lag", {
    description: "Facts on the stream that the consumer has not acknowledged",
  });

  async function ask(): Promise<number> {
    manager ??= await jetstreamManager(nc, { checkAPI: false, timeout: patienceMs });
    const { num_pending, num_ack_pending } = await manager.consumers.info(streamName(context), durable);
    return num_pending + num_ack_pending;
  }

  const observe: Parameters<typeof gauge.addCallback>[0] = async (result) => {
    const asked = ask().catch(() => Number.NaN);
    const lag = await Promise.race([asked, sleep(patienceMs, Number.NaN, { ref: false })]);
    result.observe(lag, { context, durable });
  };
  gauge.addCallback(observe);
  signal.addEventListener("abort", () => gauge.removeCallback(observe), { once: true });
}
