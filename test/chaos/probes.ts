/** How long until it works again, asked from outside: a submit is accepted, a job is done, a fact comes, a lease has a new owner. */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { HistoryWriter } from "./history.ts";
import { codeOf, outcomeOfCode } from "./history.ts";
import type { MakeJob } from "./jobs.ts";
import type { Platform } from "./platform.ts";

export interface Probes {
  /** Milliseconds since `since` (of performance.now) until a submit was accepted, and until that job had ended. */
  untilServing(since?: number): Promise<{ readonly acceptedMs: number; readonly endedMs: number }>;
  /** Milliseconds since `since` until a stream stored a fact after it. */
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
      while ((await facts.newestMs()) <= afterMs) {
        refuseAfterLimit(since, "no fact was stored");
        await sleep(50);
      }
      return performance.now() - since;
    },
    close: () => facts.close(),
  };
}

function refuseAfterLimit(since: number, what: string): void {
  if (performance.now() - since > limitMs) throw new Error(`${what} within ${limitMs / 1_000} s`);
}

/** What is stored, not what is said: a server that cannot write passes messages on to whoever listens all the same. */
async function followFacts(url: string): Promise<{ newestMs(): Promise<number>; close(): Promise<void> }> {
  const nats: NatsConnection = await connect({
    servers: url,
    name: "chaos",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    pingInterval: 1_000,
  });
  const manager = await jetstreamManager(nats, { checkAPI: false, timeout: 1_000 });
  async function newestMs(): Promise<number> {
    let newest = 0;
    for await (const { config, state } of manager.streams.list())
      if (config.name.startsWith("CAPSTAN_") && state.messages > 0)
        newest = Math.max(newest, Date.parse(state.last_ts));
    return newest;
  }
  return { newestMs: () => newestMs().catch(() => 0), close: () => nats.close() };
}
