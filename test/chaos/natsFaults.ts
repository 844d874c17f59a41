/** NATS dies, stands still, loses its disk space, its tail, its streams, its consumers, and all it stored. */
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { done, type Fault, type Scene } from "./fault.ts";
import type { Platform } from "./platform.ts";
import { whileFrozen, whyNoDisk, withFullDisk } from "./postgresFaults.ts";

const contexts = ["job", "provider", "execution", "orchestrator"];

async function withManager<T>({ nats }: Platform, work: (manager: JetStreamManager) => Promise<T>): Promise<T> {
  const connection = await connect({ servers: nats.url, timeout: 3_000 });
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}

/** What the streams hold in sum, and what the log has. */
async function countFacts(platform: Platform): Promise<{ streamed: number; logged: number }> {
  const counts = contexts.map((schema) => `(select count(*) from ${schema}.event)`).join(" + ");
  const [row] = await platform.query(`select (${counts})::int as logged`);
  return withManager(platform, async (manager) => {
    let streamed = 0;
    for await (const { config, state } of manager.streams.list())
      if (config.name.startsWith("CAPSTAN_")) streamed += state.messages;
    return { streamed, logged: Number(row?.["logged"]) };
  });
}

/** Facts that are on their way at any moment under load. */
const underWay = 300;
/** Of fewer facts the time for 10,000 would tell how long a start takes. */
const enoughFacts = 2_000;

async function untilAllIsBack(
  { platform, probes }: Pick<Scene, "platform" | "probes">,
  since: number,
): Promise<{ readonly text: string; readonly figures: Record<string, number> }> {
  const factMs = await probes.untilFact(since);
  for (;;) {
    const { streamed, logged } = await countFacts(platform).catch(() => ({ streamed: 0, logged: 1_000 }));
    if (streamed >= logged - underWay) {
      const allMs = performance.now() - since;
      const { endedMs } = await probes.untilServing(since);
      const figures: Record<string, number> = { "facts flow": factMs, recovery: endedMs, "all facts back": allMs };
      if (logged >= enoughFacts) figures["10,000 facts back"] = (allMs / logged) * 10_000;
      return { text: `${logged} facts`, figures };
    }
    if (performance.now() - since > 300_000)
      throw new Error(`only ${streamed} of ${logged} facts came back within 5 minutes`);
    await sleep(500);
  }
}

export const natsFaults = {
  "kill-nats": {
    isAlone: true,
    run: async ({ platform: { nats }, probes }) => {
      const since = performance.now();
      await nats.kill();
      await nats.start();
      const factMs = await probes.untilFact(since);
      const { endedMs } = await probes.untilServing(since);
      return done("NATS", { "facts flow": factMs, recovery: endedMs });
    },
  },
  "freeze-nats": {
    isAlone: true,
    run: async ({ platform: { nats }, probes, random }) => {
      const ms = random.between(2_000, 8_000);
      await whileFrozen(nats, ms);
      const since = performance.now();
      const factMs = await probes.untilFact(since);
      const { endedMs } = await probes.untilServing(since);
      return done(`NATS for ${ms} ms`, { "facts flow": factMs, recovery: endedMs });
    },
  },
  "wipe-nats": {
    isAlone: true,
    run: async ({ platform, probes }) => {
      const since = performance.now();
      await platform.nats.wipe();
      await platform.nats.start();
      const { text, figures } = await untilAllIsBack({ platform, probes }, since);
      return done(`NATS with ${text}`, figures);
    },
  },
  // What a power cut may do: the streams lose what they stored last, and the consumers do not.
  "roll-back-nats": {
    isAlone: true,
    run: async ({ platform, probes, random }) => {
      const { nats } = platform;
      const streams = join(nats.directory, "store", "jetstream", "$G", "streams");
      const copy = join(platform.directory, "nats-before");
      await nats.freeze();
      await cp(streams, copy, { recursive: true }).finally(() => nats.thaw());
      await sleep(random.between(1_000, 3_000));
      const since = performance.now();
      await nats.kill();
      for (const stream of await readdir(copy)) {
        await rm(join(streams, stream, "msgs"), { recursive: true, force: true });
        await cp(join(copy, stream, "msgs"), join(streams, stream, "msgs"), { recursive: true });
      }
      await rm(copy, { recursive: true });
      await nats.start();
      const { text, figures } = await untilAllIsBack({ platform, probes }, since);
      return done(`NATS with ${text}`, figures);
    },
  },
  "delete-streams": {
    isAlone: true,
    run: async ({ platform, probes }) => {
      const since = performance.now();
      await withManager(platform, async (manager) => {
        for (const context of contexts) await manager.streams.delete(`CAPSTAN_${context.toUpperCase()}`);
      });
      const { text, figures } = await untilAllIsBack({ platform, probes }, since);
      return done(`all streams with ${text}`, figures);
    },
  },
  "delete-consumers": {
    isAlone: true,
    run: async ({ platform, probes }) => {
      const since = performance.now();
      await withManager(platform, async (manager) => {
        await manager.consumers.delete("CAPSTAN_JOB", "orchestrator-job");
        await manager.consumers.delete("CAPSTAN_EXECUTION", "orchestrator-execution");
      });
      const { endedMs } = await probes.untilServing(since);
      return done("both consumers of the orchestrator", { recovery: endedMs });
    },
  },
  "fill-nats-disk": {
    isAlone: true,
    whyNot: ({ nats }) => whyNoDisk(nats),
    run: async (scene) => {
      const { nats } = scene.platform;
      const ms = await withFullDisk(scene, nats);
      const since = performance.now();
      const wait = new AbortController();
      const flowed = await Promise.race([
        scene.probes.untilFact(since),
        sleep(6_000, null, { signal: wait.signal }).catch(() => null),
      ]);
      wait.abort();
      // A stream that could not be written stays shut until the server is started again, as operators must.
      if (flowed === null) {
        await nats.stop();
        await nats.start();
      }
      const factMs = await scene.probes.untilFact(since);
      const { endedMs } = await scene.probes.untilServing(since);
      const how = flowed === null ? ", which was started again" : "";
      return done(`NATS for ${ms} ms${how}`, { "facts flow": factMs, recovery: endedMs });
    },
  },
} satisfies Record<string, Fault>;
