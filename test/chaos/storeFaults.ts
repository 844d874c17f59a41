/** Postgres and NATS die, stand still, lose their disk space and, where that may be, all they stored. */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { done, type Fault, type Scene } from "./fault.ts";
import type { Platform } from "./platform.ts";
import type { Store } from "./stores.ts";

const whyNoDisk = (store: Store) => (store.disk === null ? `no small disk: ${store.whyNoDisk}` : null);

async function withFullDisk({ random }: Scene, store: Store): Promise<number> {
  const holdMs = random.between(3_000, 6_000);
  await store.disk?.fill();
  try {
    await sleep(holdMs);
  } finally {
    await store.disk?.free();
  }
  return holdMs;
}

async function whileFrozen(store: Store, ms: number): Promise<void> {
  await store.freeze();
  try {
    await sleep(ms);
  } finally {
    await store.thaw();
  }
}

/** What the streams hold in sum, and what they should: the log without what is still to be published. */
async function countFacts({ nats, query }: Platform): Promise<{ streamed: number; logged: number }> {
  const contexts = ["job", "provider", "execution", "orchestrator"];
  const counts = contexts.map((schema) => `(select count(*) from ${schema}.event)`).join(" + ");
  const [row] = await query(`select (${counts})::int as logged`);
  const connection = await connect({ servers: nats.url, timeout: 3_000 });
  try {
    const manager = await jetstreamManager(connection);
    let streamed = 0;
    for await (const { config, state } of manager.streams.list())
      if (config.name.startsWith("CAPSTAN_")) streamed += state.messages;
    return { streamed, logged: Number(row?.["logged"]) };
  } finally {
    await connection.close();
  }
}

/** Facts that are on their way at any moment under load. */
const underWay = 300;

export const storeFaults = {
  "kill-postgres": {
    isAlone: true,
    run: async ({ platform: { postgres }, probes }) => {
      const since = performance.now();
      await postgres.kill();
      await postgres.start();
      const { acceptedMs, endedMs } = await probes.untilServing(since);
      return done("Postgres", { "first submit": acceptedMs, recovery: endedMs });
    },
  },
  "freeze-postgres": {
    isAlone: true,
    run: async ({ platform: { postgres }, probes, random }) => {
      const ms = random.between(2_000, 5_000);
      await whileFrozen(postgres, ms);
      const { endedMs } = await probes.untilServing();
      return done(`Postgres for ${ms} ms`, { recovery: endedMs });
    },
  },
  "cut-sessions": {
    isAlone: true,
    run: async ({ platform, probes }) => {
      const cut = await platform.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'capstan-%'",
      );
      const { endedMs } = await probes.untilServing();
      return done(`${cut.length} sessions`, { recovery: endedMs });
    },
  },
  "fill-postgres-disk": {
    isAlone: true,
    whyNot: ({ postgres }) => whyNoDisk(postgres),
    run: async (scene) => {
      const { postgres } = scene.platform;
      const ms = await withFullDisk(scene, postgres);
      const since = performance.now();
      const hasEnded = !(await postgres.isAlive());
      if (hasEnded) {
        await postgres.stop();
        await postgres.start();
      }
      const { endedMs } = await scene.probes.untilServing(since);
      return done(`Postgres for ${ms} ms${hasEnded ? ", which ended it" : ""}`, { recovery: endedMs });
    },
  },
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
      const factMs = await probes.untilFact(since);
      for (;;) {
        const counts = await countFacts(platform).catch(() => ({ streamed: 0, logged: 1 }));
        if (counts.streamed >= counts.logged - underWay) {
          const allMs = performance.now() - since;
          const { endedMs } = await probes.untilServing(since);
          // Of a few facts it would tell how long a start takes.
          const perFacts: Readonly<Record<string, number>> =
            counts.logged < 2_000 ? {} : { "10,000 facts back": (allMs / counts.logged) * 10_000 };
          const figures = { "facts flow": factMs, recovery: endedMs, "all facts back": allMs, ...perFacts };
          return done(`NATS with ${counts.logged} facts, back after ${Math.round(allMs)} ms`, figures);
        }
        if (performance.now() - since > 300_000)
          throw new Error(`only ${counts.streamed} of ${counts.logged} facts came back within 5 minutes`);
        await sleep(500);
      }
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
