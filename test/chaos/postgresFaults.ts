/** Postgres dies, stands still, loses its sessions and its disk space. */
import { setTimeout as sleep } from "node:timers/promises";
import { done, type Fault, type Scene } from "./fault.ts";
import type { Store } from "./stores.ts";

export const whyNoDisk = (store: Store) => (store.disk === null ? `no small disk: ${store.whyNoDisk}` : null);

export async function withFullDisk({ random }: Scene, store: Store): Promise<number> {
  const holdMs = random.between(3_000, 6_000);
  await store.disk?.fill();
  try {
    await sleep(holdMs);
  } finally {
    await store.disk?.free();
  }
  return holdMs;
}

export async function whileFrozen(store: Store, ms: number): Promise<void> {
  await store.freeze();
  try {
    await sleep(ms);
  } finally {
    await store.thaw();
  }
}

export const postgresFaults = {
  "kill-postgres": {
    isAlone: true,
    run: async ({ platform: { postgres }, probes }) => {
      const since = performance.now();
      await postgres.kill();
      await postgres.start();
      const restartMs = performance.now() - since;
      const { acceptedMs, endedMs } = await probes.untilServing(since);
      return done("Postgres", { restart: restartMs, "first submit": acceptedMs, recovery: endedMs });
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
} satisfies Record<string, Fault>;
