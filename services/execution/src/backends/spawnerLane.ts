/**
 * A spawner that is always there when needed: started with the first need, and again after it was lost with all it ran.
 */

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BackendLost, BackendUnavailable, type OutputSink, type Running } from "./backend.ts";
import { newRunnerMark } from "./processTable.ts";
import { killLeftovers } from "./reaper.ts";
import { type Order, startFrame } from "./spawnerFrames.ts";
import { openSpawnerLink, type SpawnerLink } from "./spawnerLink.ts";
import { type Tracked, trackExecution } from "./trackedExecution.ts";

export interface SpawnerLane {
  /** Executions that were ordered and have neither started nor failed. */
  waiting(): number;
  connect(): Promise<SpawnerLink>;
  /** Starts an execution; the runner's mark is added to its environment. Rejects as the port's `start` does. */
  start(order: Order, stdin: Uint8Array | null, sink: OutputSink): Promise<Running>;
  close(): Promise<void>;
}

interface SpawnerLaneOptions {
  /** The lane makes a directory of its own in it. */
  readonly base: string;
  readonly cacheDirectory: string;
  readonly isContained: boolean;
  /** Between two pings of the spawner. */
  readonly pingMs: number;
  readonly log: { warn(fields: object, message: string): void };
}

/** A lane that has not started its spawner yet. */
export function createSpawnerLane({ base, cacheDirectory, isContained, pingMs, log }: SpawnerLaneOptions): SpawnerLane {
  const runner = newRunnerMark();
  const directory = join(base, runner);
  const tracked = new Map<number, Tracked>(); // those the spawner has more to say of, by their number on the link
  let link: Promise<SpawnerLink> | null = null;
  let spawners = 0;
  let lastNumber = 0;
  let waiting = 0;
  let isClosed = false;

  const loseAll = async (own: string) => {
    link = null;
    const lost = [...tracked.values()];
    tracked.clear();
    if (!isClosed) log.warn({ executions: lost.length }, "the process spawner ended and its executions are lost");
    await killMarked(runner);
    await rm(own, { recursive: true, force: true });
    for (const each of lost) each.lose(new BackendLost("the workload was killed because its spawner ended"));
  };
  const open = async () => {
    const own = join(directory, String(++spawners));
    for (const name of ["work", "pipes"]) await mkdir(join(own, name), { recursive: true, mode: 0o700 });
    const onFrame = (kind: number, number: number, body: Buffer) => tracked.get(number)?.receive(kind, body);
    const opened = await openSpawnerLink({ directory: own, cacheDirectory, runner, isContained, pingMs, onFrame });
    void opened.gone.then(() => loseAll(own));
    return opened;
  };
  const connect = (): Promise<SpawnerLink> => {
    if (isClosed) return Promise.reject(new BackendUnavailable("the backend is closed"));
    link ??= open().catch((error: unknown) => {
      link = null;
      throw error;
    });
    return link;
  };
  return {
    waiting: () => waiting,
    connect,
    start: async (order, stdin, sink) => {
      waiting++;
      try {
        const { send } = await connect();
        const number = ++lastNumber;
        const execution = trackExecution(number, sink, send, () => tracked.delete(number));
        tracked.set(number, execution);
        const env = Object.assign(order.env, { CAPSTAN_RUNNER: runner });
        send(startFrame(number, { ...order, env }, stdin));
        return await execution.started;
      } finally {
        waiting--;
      }
    },
    close: async () => {
      const opened = await link?.catch(() => null);
      isClosed = true;
      await opened?.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Kills every process with this runner's mark, or with a dead runner's, until there is none. Null: only dead runners'. */
export async function killMarked(runner: string | null): Promise<void> {
  while (killLeftovers({ runner, isContained: false, mains: [] }).size > 0) await delay(5);
}
