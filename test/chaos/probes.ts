/** How long until it works again, asked from outside: a submit is accepted, a job is done, a fact comes, a lease has a new owner. */
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { HistoryWriter } from "./history.ts";
import { codeOf, outcomeOfCode } from "./history.ts";
import type { MakeJob } from "./jobs.ts";
import type { Platform } from "./platform.ts";

export interface Probes {
  /** Milliseconds since `since` (of performance.now) until a submit was accepted, and until that job had ended. */
  untilServing(since?: number): Promise<{ readonly acceptedMs: number; readonly endedMs: number }>;
  /** Milliseconds since `since` until a fact arrived that happened after it. */
  untilFact(since?: number): Promise<number>;
  close(): Promise<void>;
}

/** After this something is broken for good; on a machine that others use too, starved calls take seconds. */
const limitMs = 180_000;

export async function openProbes(platform: Platform, history: HistoryWriter, makeJob: MakeJob): Promise<Probes> {
  const facts = await followFacts(platform.nats.url);
  let count = 0;

  async function accept(since: number): Promise<{ jobId: string; acceptedMs: number }> {
    const key = `canary-${count++}`;
    const request = makeJob("canary", key);
    const note = (outcome: "ok" | "fail" | "unknown", jobId: string | null, code: string) =>
      history.submitted({ key, kind: "canary", outcome, jobId, code });
    for (;;) {
      try {
        const { job } = await platform.observer.jobs.submitJob(request, { deadlineMs: 5_000 });
        const jobId = job?.id ?? "";
        note("ok", jobId, "");
        return { jobId, acceptedMs: performance.now() - since };
      } catch (error) {
        const code = codeOf(error);
        note(outcomeOfCode(code), null, code);
      }
      refuseAfterLimit(since, "no submit was accepted");
      await sleep(50);
    }
  }

  return {
    untilServing: async (since = performance.now()) => {
      const { jobId, acceptedMs } = await accept(since);
      for (;;) {
        const rows = await platform
          .query("select 1 as one from job.job where id = $1 and end_time is not null", [jobId])
          .catch(() => []);
        if (rows.length > 0) return { acceptedMs, endedMs: performance.now() - since };
        refuseAfterLimit(since, `job ${jobId} was accepted and did not end`);
        await sleep(25);
      }
    },
    untilFact: async (since = performance.now()) => {
      const afterMs = Date.now() - (performance.now() - since);
      while (facts.newestMs() <= afterMs) {
        refuseAfterLimit(since, "no fact came");
        await sleep(20);
      }
      return performance.now() - since;
    },
    close: () => facts.close(),
  };
}

function refuseAfterLimit(since: number, what: string): void {
  if (performance.now() - since > limitMs) throw new Error(`${what} within ${limitMs / 1_000} s`);
}

/** Straight from NATS, by whoever listens. */
async function followFacts(url: string): Promise<{ newestMs(): number; close(): Promise<void> }> {
  const nats: NatsConnection = await connect({
    servers: url,
    name: "chaos",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    pingInterval: 1_000,
  });
  let newest = 0;
  nats.subscribe("capstan.v1.>", {
    callback: (_error, message) => {
      const time = Date.parse(message.headers?.get("ce-time") ?? "");
      if (time > newest) newest = time;
    },
  });
  return { newestMs: () => newest, close: () => nats.close() };
}
