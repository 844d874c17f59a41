/** What the orchestrator tells of its sagas in figures and traces. Live ones are counted in the database, when somebody scrapes. */
import { type Pool, startGauge } from "@capstan/postgres";
import { spanFor } from "@capstan/service";
import { metrics } from "@opentelemetry/api";
import type { Saga } from "./runJob.ts";
import { countLiveSagas } from "./sagaQueries.ts";

/** From a few milliseconds, which a place that is free takes, to the hours of a queue before a full provider. */
const waitBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400];

/** Gives back how to note sagas that were just placed: how long they waited since their step became READY. */
export function startSagaTelemetry(pool: Pool): (placed: readonly Saga[]) => void {
  startGauge({
    pool,
    name: "capstan.sagas.live",
    description: "Sagas that have not ended, by stage",
    read: async (db) => (await countLiveSagas(db)).map(({ stage, count }) => ({ value: count, attributes: { stage } })),
  });
  const waits = metrics.getMeter("@capstan/orchestrator-service").createHistogram("capstan.queue.wait_seconds", {
    description: "Time from READY to placed",
    advice: { explicitBucketBoundaries: waitBuckets },
  });
  return (sagas) => {
    for (const { id, jobId, step, attempt, placed, readyTime, traceparent } of sagas) {
      const kind = placed?.kind.slice("PROVIDER_KIND_".length) ?? "";
      // The two clocks may disagree by a little.
      waits.record(Math.max(0, Date.now() - readyTime.getTime()) / 1_000, { kind });
      const names = { "capstan.execution": id, "capstan.job": jobId, "capstan.step": step, "capstan.attempt": attempt };
      const provider = placed?.providerName ?? "";
      spanFor("place", traceparent, { ...names, "capstan.provider": provider }, { startTime: readyTime }).end();
    }
  };
}
