/**
 * Executions for workers come to any runner, but run where their workers are connected. What waits here for a worker that only
 * another runner has, or has sooner, is handed over to that runner before it was started.
 */
import type { Pool } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import { wantedOf } from "./backends/worker.ts";
import { toHandlerCall } from "./executionProto.ts";
import type { QueuedExecution, Runner } from "./runner.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { handOverExecutions } from "./takeOverStore.ts";
import type { Registration } from "./worker.ts";
import { keyOf, suits, type Wanted } from "./workerPools.ts";
import { listWorkersElsewhere, type WorkerElsewhere } from "./workerStore.ts";
import type { Workers } from "./workers.ts";

interface HandOverOptions {
  readonly app: Pick<App, "startLoop" | "log">;
  readonly pool: Pool;
  readonly lease: RunnerLease;
  readonly runner: Pick<Runner, "queued" | "letGoOf">;
  readonly workers: Workers;
  /** A hint to these runners that something was given to them. */
  readonly onHandedOver: (runnerIds: readonly string[]) => void;
}

const intervalMs = 250;
/** A worker here that is only busy is waited for this long. */
const patienceMs = 2_000;
const maxBatch = 1_000;

export function startHandOver({ app, pool, lease, runner, workers, onHandedOver }: HandOverOptions): Loop {
  return app.startLoop({
    name: "hand-over-executions",
    intervalMs,
    once: async () => {
      const stuck = stuckHere(runner.queued(), workers);
      if (stuck.length === 0 || !lease.isHeld) return;
      const elsewhere = await listWorkersElsewhere(pool, lease.id);
      const moves = stuck.flatMap((alike) => movesTo(elsewhere, alike)).slice(0, maxBatch);
      if (moves.length === 0) return;
      runner.letGoOf(await handOverExecutions(pool, lease.id, moves));
      app.log.info({ executions: moves.length }, "handed over executions whose workers are elsewhere");
      onHandedOver([...new Set(moves.map(({ runnerId }) => runnerId))]);
    },
  });
}

/** Executions that the same workers may run. */
interface Alike {
  readonly wanted: Wanted;
  readonly executions: readonly QueuedExecution[];
}

/** What no worker here may run, and what those here have been too busy for. */
function stuckHere(queued: readonly QueuedExecution[], workers: Workers): readonly Alike[] {
  const impatientMs = performance.now() - patienceMs;
  return groupAlike(queued).flatMap(({ wanted, executions }) => {
    const isServed = [...workers.all()].some(({ isOpen, registration }) => isOpen && mayRun(registration, wanted));
    const stuck = isServed ? executions.filter(({ sinceMs }) => sinceMs < impatientMs) : executions;
    return stuck.length === 0 ? [] : [{ wanted, executions: stuck }];
  });
}

function groupAlike(queued: readonly QueuedExecution[]): readonly Alike[] {
  const groups = new Map<string, { wanted: Wanted; executions: QueuedExecution[] }>();
  for (const each of queued) {
    const { tenant } = each.assignment;
    const wanted = wantedOf({ tenant, handler: toHandlerCall(each.assignment) });
    const key = `${tenant}/${wanted.pool}/${keyOf(wanted)}`;
    const group = groups.get(key) ?? { wanted, executions: [] };
    groups.set(key, group);
    group.executions.push(each);
  }
  return [...groups.values()];
}

/** To the runners of the workers that may run them, in turn. */
function movesTo(elsewhere: readonly WorkerElsewhere[], { wanted, executions }: Alike) {
  const suiting = elsewhere.filter((worker) => mayRun({ ...worker, handlers: new Set(worker.handlers) }, wanted));
  return executions.flatMap(({ assignment, fence }, index) => {
    const worker = suiting[index % suiting.length];
    return worker === undefined ? [] : [{ id: assignment.id, fence, runnerId: worker.runner_id }];
  });
}

type Located = Pick<Registration, "tenant" | "pool" | "handlers" | "labels">;

function mayRun(worker: Located, wanted: Wanted): boolean {
  return worker.tenant === wanted.tenant && worker.pool === wanted.pool && suits(worker, wanted);
}
