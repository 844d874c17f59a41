/** Services and workers die, stand still and are stopped in order, alone and all at once. */
import { setTimeout as sleep } from "node:timers/promises";
import { done, type Fault, type Scene } from "./fault.ts";
import type { Node } from "./node.ts";
import { leaseMs } from "./platform.ts";

async function restart(nodes: readonly Node[]): Promise<number> {
  return Math.max(...(await Promise.all(nodes.map((node) => node.start()))));
}

async function freeze(node: Node, ms: number): Promise<void> {
  node.freeze();
  try {
    await sleep(ms);
  } finally {
    node.thaw();
  }
}

/** Live executions that the process with this pid holds. */
async function countHeld({ platform }: Scene, pid: number): Promise<number> {
  const [row] = await platform.query(
    `select count(*)::int as count from execution.execution e
      where e.end_time is null and e.lease_owner = (select id from execution.runner where pid = $1 order by create_time desc limit 1)`,
    [pid],
  );
  return Number(row?.["count"]);
}

/** A runner that holds something, once there is one. */
async function pickHolder(scene: Scene): Promise<Node> {
  const runners = scene.random.shuffled(scene.platform.services.filter(({ service }) => service === "execution"));
  for (let look = 0; look < 200; look++) {
    for (const node of runners) if ((await countHeld(scene, node.pid)) > 0) return node;
    await sleep(100);
  }
  throw new Error("no runner came to hold an execution");
}

export const serviceFaults = {
  "kill-service": {
    isAlone: true,
    run: async ({ platform, probes, random }) => {
      const node = random.pick(platform.services);
      await node.kill();
      await sleep(random.between(0, 1_500));
      const restartMs = await restart([node]);
      const { endedMs } = await probes.untilServing();
      return done(node.label, { restart: restartMs, recovery: endedMs });
    },
  },
  "kill-all-services": {
    isAlone: true,
    run: async ({ platform, probes }) => {
      await Promise.all(platform.services.map((node) => node.kill()));
      const restartMs = await restart(platform.services);
      const { endedMs } = await probes.untilServing();
      return done("all services", { restart: restartMs, recovery: endedMs });
    },
  },
  "stop-service": {
    isAlone: true,
    run: async ({ platform, probes, random }) => {
      const node = random.pick(platform.services);
      const stopMs = await node.stop();
      await restart([node]);
      const { endedMs } = await probes.untilServing();
      if (stopMs > 25_000) throw new Error(`${node.label} took ${Math.round(stopMs)} ms to stop in order`);
      return done(node.label, { stop: stopMs, recovery: endedMs });
    },
  },
  "freeze-service": {
    isAlone: true,
    run: async ({ platform, probes, random }) => {
      const node = random.pick(platform.services);
      const ms = random.between(1_500, 5_000);
      await freeze(node, ms);
      const { endedMs } = await probes.untilServing();
      return done(`${node.label} for ${ms} ms`, { recovery: endedMs });
    },
  },
  // Longer than its lease: another takes what it holds, and when it wakes up it must notice.
  "freeze-runner": {
    isAlone: true,
    run: async (scene) => {
      const { probes, load } = scene;
      await load.add("long", 6);
      const node = await pickHolder(scene);
      const begin = performance.now();
      node.freeze();
      const held = await countHeld(scene, node.pid);
      try {
        while ((await countHeld(scene, node.pid)) > 0) {
          if (performance.now() - begin > leaseMs + 30_000)
            throw new Error(`nobody took over what ${node.label} held, ${held} executions`);
          await sleep(50);
        }
        const takeOverMs = performance.now() - begin;
        await sleep(Math.max(0, leaseMs + 1_000 - takeOverMs));
        node.thaw();
        const { endedMs } = await probes.untilServing();
        const figures = held > 0 ? { takeover: takeOverMs, recovery: endedMs } : { recovery: endedMs };
        return done(`${node.label} with ${held} executions`, figures);
      } finally {
        node.thaw();
      }
    },
  },
  "kill-worker": {
    isAlone: false,
    run: async ({ platform, random, takeNode }) => {
      const node = takeNode(platform.workers);
      await node.kill();
      await sleep(random.between(0, 2_000));
      await node.start();
      return done(node.label);
    },
  },
  "freeze-worker": {
    isAlone: false,
    run: async ({ platform, random, takeNode }) => {
      const node = takeNode(platform.workers);
      const ms = random.pick([random.between(1_000, 4_000), leaseMs + random.between(1_000, 3_000)]);
      await freeze(node, ms);
      return done(`${node.label} for ${ms} ms`);
    },
  },
  "stop-worker": {
    isAlone: false,
    run: async ({ platform, takeNode }) => {
      const node = takeNode(platform.workers);
      await node.stop();
      await node.start();
      return done(node.label);
    },
  },
} satisfies Record<string, Fault>;
