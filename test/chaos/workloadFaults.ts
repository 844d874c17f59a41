/** Containers vanish, their engine hangs, and jobs do what jobs should not: flood their log, fork without end. */
import { setTimeout as sleep } from "node:timers/promises";
import { listContainers, removeContainer } from "./engine.ts";
import { done, type Fault, type Scene } from "./fault.ts";
import type { Kind } from "./jobs.ts";
import type { Platform } from "./platform.ts";
import { listMarkedProcesses } from "./processes.ts";

const whyNoEngine = ({ engine, whyNoEngine: why }: Platform) => (engine === null ? why : null);

/** Fails when they have not all ended; gives back how many ended how. */
async function untilEnded({ platform }: Scene, jobIds: readonly string[], limitMs: number): Promise<string> {
  const begin = performance.now();
  for (;;) {
    const rows = await platform
      .query(
        "select state, count(*)::int as count from job.job where id = any($1::uuid[]) and end_time is not null group by 1",
        [jobIds],
      )
      .catch(() => []);
    const ended = rows.reduce((sum, { count }) => sum + Number(count), 0);
    if (ended === jobIds.length) return rows.map(({ state, count }) => `${count} ${state}`).join(", ");
    if (performance.now() - begin > limitMs) throw new Error(`${jobIds.length - ended} of ${jobIds} have not ended`);
    await sleep(100);
  }
}

/** The executions of the jobs whose containers run. */
async function untilContainersRun({ platform }: Scene, jobIds: readonly string[]): Promise<readonly string[]> {
  const docker = platform.engine?.docker;
  for (let look = 0; docker !== undefined && look < 300; look++) {
    const rows = await platform
      .query("select id::text from execution.execution where job_id = any($1::uuid[]) and end_time is null", [jobIds])
      .catch(() => []);
    const ours = new Set(rows.map(({ id }) => id));
    const found = (await listContainers(docker)).filter(
      ({ executionId, isRunning }) => isRunning && ours.has(executionId),
    );
    if (found.length > 0) return found.map(({ executionId }) => executionId);
    await sleep(100);
  }
  throw new Error("no container of the jobs came to run");
}

async function runBadJobs(scene: Scene, kind: Kind, count: number): Promise<string> {
  const jobIds = await scene.load.add(kind, count);
  const ends = await untilEnded(scene, jobIds, 90_000);
  return `${count} jobs: ${ends}`;
}

export const workloadFaults = {
  "remove-container": {
    isAlone: false,
    whyNot: whyNoEngine,
    run: async (scene) => {
      const { platform, load, random } = scene;
      const jobIds = await load.add("longContainer", 3);
      const executionId = random.pick(await untilContainersRun(scene, jobIds));
      if (platform.engine !== null) await removeContainer(platform.engine.docker, executionId);
      const since = performance.now();
      for (;;) {
        const rows = await platform
          .query("select state from execution.execution where id = $1 and end_time is not null", [executionId])
          .catch(() => []);
        if (rows[0] !== undefined)
          return done(`of execution ${executionId}: ${rows[0]["state"]}`, { noticed: performance.now() - since });
        if (performance.now() - since > 60_000)
          throw new Error(`nobody noticed that the container of ${executionId} is gone`);
        await sleep(100);
      }
    },
  },
  "hang-engine": {
    isAlone: false,
    whyNot: whyNoEngine,
    run: async (scene) => {
      const { platform, load, random } = scene;
      const link = platform.engine?.link;
      const jobIds = await load.add("longContainer", 2);
      await untilContainersRun(scene, jobIds);
      const ms = random.between(4_000, 8_000);
      const how = random.pick(["hangs", "is cut off"] as const);
      if (how === "hangs") link?.stall("both");
      else link?.refuse();
      try {
        await sleep(ms);
      } finally {
        link?.heal();
      }
      return done(`the engine ${how} for ${ms} ms`);
    },
  },
  "log-flood": {
    isAlone: false,
    run: async (scene) => done(await runBadJobs(scene, "flood", 2)),
  },
  "fork-tree": {
    isAlone: false,
    run: async (scene) => {
      const target = await runBadJobs(scene, "forks", 2);
      return done(`${target}, ${(await listMarkedProcesses()).length} processes of all jobs live then`);
    },
  },
  "fork-bomb": {
    isAlone: false,
    whyNot: whyNoEngine,
    run: async (scene) => done(await runBadJobs(scene, "bomb", 1)),
  },
} satisfies Record<string, Fault>;
