/** What the job service tells of its jobs in figures and traces. Live ones are counted in the database, when somebody scrapes. */
import { type Pool, startGauge } from "@capstan/postgres";
import { spanFor } from "@capstan/service";
import { metrics } from "@opentelemetry/api";
import { isJobTerminal, type Job } from "./job.ts";
import { countLiveJobs } from "./jobQueries.ts";

/** Gives back how to note jobs that were just saved; of those that have ended by it the end is counted and traced. */
export function startJobTelemetry(pool: Pool): (jobs: readonly Job[]) => void {
  startGauge({
    pool,
    name: "capstan.jobs.live",
    description: "Jobs that have not ended, by state",
    read: async (db) => (await countLiveJobs(db)).map(({ state, count }) => ({ value: count, attributes: { state } })),
  });
  const ends = metrics.getMeter("@capstan/job-service").createCounter("capstan.jobs.ended", {
    description: "Jobs that have ended, by state and reason",
  });
  return (jobs) => {
    for (const { id, state, reason, traceparent } of jobs) {
      if (!isJobTerminal(state)) continue;
      ends.add(1, { state, reason });
      spanFor("end job", traceparent, { "capstan.job": id, "capstan.state": state, "capstan.reason": reason }).end();
    }
  };
}
