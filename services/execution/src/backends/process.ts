/**
 * Runs workloads as processes of this machine, through spawners (spawner.ts says why).
 *
 * A process cannot outlive its runner: when the runner or the spawner ends, however it ends, all its executions are killed and
 * are lost. So there is nothing to adopt, and an execution is known only to the backend that started it.
 */

import { mkdir, readdir, rm } from "node:fs/promises";
import { availableParallelism, release, type } from "node:os";
import { join, resolve } from "node:path";
import { type Backend, type OutputSink, type Running, type Workload, workloadEnvironment } from "./backend.ts";
import { isRunnerDead, readProcesses } from "./processTable.ts";
import type { Order } from "./spawnerFrames.ts";
import { createSpawnerLane, killMarked, type SpawnerLane } from "./spawnerLane.ts";
import { canContain, compileSpawner } from "./spawnerLink.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** A spawner waits while its child executes; with as many starts behind it, another one is worth its memory. */
const CROWDED = 4;

interface ProcessBackendConfig {
  /** For working directories and pipes; made when missing; may be shared with other runners. */
  readonly directory: string;
  /** PATH of the workloads; null is the system's usual one. */
  readonly path: string | null;
  /** True: in pid namespaces of their own where the machine allows it. False: among the machine's processes. */
  readonly contain: boolean;
  /** A spawner that hangs is killed when it has left three pings unanswered; 10 s between them unless said. */
  readonly pingMs?: number;
  readonly log: { warn(fields: object, message: string): void };
}

/** Opens the backend, clears away what dead runners left, and starts the first spawner. */
export async function openProcessBackend(config: ProcessBackendConfig): Promise<Backend> {
  const { path, contain, pingMs = 10_000, log } = config;
  const base = resolve(config.directory);
  const cacheDirectory = join(base, "compiled");
  await mkdir(base, { recursive: true });
  await killMarked(null);
  const [isContained] = await Promise.all([
    contain && canContain(),
    compileSpawner(cacheDirectory),
    removeAbandoned(base),
  ]);
  const lanes = Array.from({ length: Math.min(2, availableParallelism()) }, () =>
    createSpawnerLane({ base, cacheDirectory, isContained, pingMs, log }),
  );
  const first = lanes[0] as SpawnerLane;
  const running = new Map<string, Promise<Running>>();
  await first.connect();

  const begin = (workload: Workload, sink: OutputSink): Promise<Running> => {
    const leastCrowded = lanes.reduce((best, lane) => (lane.waiting() < best.waiting() ? lane : best));
    const lane = first.waiting() < CROWDED ? first : leastCrowded;
    return lane.start(orderFor(workload, path ?? DEFAULT_PATH), workload.stdin, sink);
  };
  return {
    probe: async (signal) => {
      signal.throwIfAborted();
      await first.connect();
      return { version: `${type()} ${release()}` };
    },
    start: (workload, sink) => {
      const { executionId } = workload;
      const before = running.get(executionId);
      if (before !== undefined) return before;
      const started = begin(workload, sink);
      running.set(executionId, started);
      started.catch(() => running.delete(executionId));
      return started;
    },
    adopt: async (executionId) => (await running.get(executionId)?.catch(() => null)) ?? null,
    list: async () => ({ executionIds: [...running.keys()] }),
    remove: async (executionId) => {
      const known = await running.get(executionId)?.catch(() => null);
      await known?.stop(0);
      running.delete(executionId);
    },
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.close()));
    },
  };
}

/** Directories of runners that are dead. */
async function removeAbandoned(base: string): Promise<void> {
  const processes = new Map(readProcesses().map((entry) => [entry.pid, entry]));
  const runners = (await readdir(base)).filter((name) => /^\d+\.\d+\.\d+\./.test(name));
  const abandoned = runners.filter((runner) => isRunnerDead(runner, processes));
  await Promise.all(abandoned.map((runner) => rm(join(base, runner), { recursive: true, force: true })));
}

function orderFor(workload: Workload, path: string): Order {
  const { executionId, script, command, workingDirectory, stdin } = workload;
  const interpreter = script?.interpreter.length ? script.interpreter : ["/bin/sh"];
  return {
    executionId,
    argv: script === null ? command : [...interpreter, ...command],
    script: script === null ? null : { content: script.content, index: interpreter.length },
    env: workloadEnvironment(workload, { PATH: path, LANG: "C.UTF-8" }),
    workingDirectory,
    hasStdin: stdin !== null,
  };
}
