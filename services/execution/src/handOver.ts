/**
 * Executions for workers come to any runner, but run where their workers are connected. What waits here for a worker that only
 * another runner has, or has sooner, is handed over to that runner before it was started.
 */
import { failingConstraint } from "@capstan/labels";
import type { Pool } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import { wantedOf } from "./backends/worker.ts";
import { toHandlerCall } from "./executionProto.ts";
import type { QueuedExecution, Runner } from "./runner.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { handOverExecutions } from "./takeOverStore.ts";
import type { Wanted } from "./workerPools.ts";
import { listWorkersElsewhere, type WorkerElsewhere } from "./workerStore.ts";
import type { Workers } from "./workers.ts";

export interface HandOverOptions {
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
      const stuck = runner.queued().filter((each) => !isServedHere(each, workers));
      if (stuck.length === 0 || !lease.isHeld) return;
      const elsewhere = await listWorkersElsewhere(pool, lease.id);
      if (elsewhere.length === 0) return;
      const moves = stuck.slice(0, maxBatch).flatMap((each, index) => {
        const suiting = elsewhere.filter((worker) => suits(worker, wantedBy(each)));
        const worker = suiting[index % suiting.length];
        return worker === undefined ? [] : [{ id: each.assignment.id, fence: each.fence, runnerId: worker.runner_id }];
      });
      if (moves.length === 0) return;
      runner.letGoOf(await handOverExecutions(pool, lease.id, moves));
      app.log.info({ executions: moves.length }, "handed over executions whose workers are elsewhere");
      onHandedOver([...new Set(moves.map(({ runnerId }) => runnerId))]);
    },
  });
}

function isServedHere(each: QueuedExecution, workers: Workers): boolean {
  const age = performance.now() - each.sinceMs;
  if (age > patienceMs) return false;
  const wanted = wantedBy(each);
  return [...workers.all()].some(({ isOpen, registration }) => isOpen && suits(registration, wanted));
}

function wantedBy({ assignment }: QueuedExecution): Wanted {
  return wantedOf({ tenant: assignment.tenant, handler: toHandlerCall(assignment) });
}

function suits(
  {
    tenant,
    pool,
    handlers,
    labels,
  }: Pick<WorkerElsewhere, "tenant" | "pool" | "labels"> & {
    readonly handlers: Iterable<string>;
  },
  wanted: Wanted,
): boolean {
  const isThere = tenant === wanted.tenant && pool === wanted.pool;
  return isThere && new Set(handlers).has(wanted.name) && failingConstraint(wanted.constraints, labels) === null;
}
