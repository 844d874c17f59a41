/**
 * Takes over the executions of runners that are gone: those whose lease is over, and at once those that died on this host.
 * Also notices stops that another replica recorded for what this runner holds.
 */
import type { Pool, TellRepair } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import type { Runner } from "./runner.ts";
import { describeThisRunner, hasEnded } from "./runnerHost.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { removeDeadRunners, type SeenRunner, surveyRunners } from "./runnerStore.ts";
import { listStops } from "./stopStore.ts";
import { takeOverExecutions } from "./takeOverStore.ts";

interface TakeOverOptions {
  readonly app: Pick<App, "startLoop">;
  readonly pool: Pool;
  readonly lease: RunnerLease;
  readonly runner: Runner;
  readonly tell: TellRepair;
  readonly intervalMs: number;
  readonly stopPollMs: number;
}

const batch = 200;

export function startTakeOver(options: TakeOverOptions): readonly Loop[] {
  const { app, pool, lease, runner, tell } = options;
  const { host } = describeThisRunner();
  let isAlone = true;
  let hasFoundDead = false;

  async function takeOverOnce(): Promise<boolean> {
    if (!lease.isHeld) return false;
    const { runners, hasOrphans } = await surveyRunners(pool);
    const others = runners.filter(({ id }) => id !== lease.id);
    const dead = others.filter((other) => other.host === host && hasEnded(other));
    const overdue = others.filter(({ isOverdue }) => isOverdue);
    const gone = new Set([...dead, ...overdue]);
    isAlone = gone.size === others.length;
    hasFoundDead ||= gone.size > 0;
    if (gone.size > 0) await removeDeadRunners(pool, dead.map(toId), overdue.map(toId));
    else if (!hasOrphans) return false;
    const taken = await takeOverExecutions(pool, lease.id, batch);
    runner.takeOver(taken);
    // What a runner left that stopped in order is no repair.
    const refs = hasFoundDead ? taken.map(({ execution }) => execution.id) : [];
    const message = "the runner of an execution was gone; another took it over";
    if (refs.length > 0) await tell({ repair: "take-over-execution", message, refs });
    hasFoundDead &&= taken.length === batch;
    return taken.length === batch;
  }

  async function noticeStopsOnce(): Promise<void> {
    // Stops through this process are handed over at once; only another replica's have to be looked for.
    if (isAlone || runner.size === 0) return;
    runner.stop(await listStops(pool, lease.id));
  }

  return [
    app.startLoop({ name: "take-over-executions", intervalMs: options.intervalMs, once: takeOverOnce }),
    app.startLoop({ name: "notice-stops", intervalMs: options.stopPollMs, once: noticeStopsOnce }),
  ];
}

function toId({ id }: SeenRunner): string {
  return id;
}
