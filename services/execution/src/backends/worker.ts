/**
 * The backend of worker pools: users' own processes that are connected run handlers. All pools share one; who runs what is decided
 * in workerPools.ts. What runs outlives its runner: a worker that comes back is found again with what it has.
 */
import type { Workers } from "../workers.ts";
import type { Backend, HandlerEnd, Workload } from "./backend.ts";

export function openWorkerBackend(workers: Workers): Backend<HandlerEnd> {
  return {
    // Whether a pool has workers is told by the workers, not by probes.
    probe: async () => ({ version: "" }),
    start: (workload, sink, stopping) => workers.start(workload, wantedOf(workload), sink, stopping),
    adopt: (executionId, sink) => workers.adopt(executionId, sink),
    list: async () => ({ executionIds: workers.list() }),
    remove: async (executionId) => workers.forget(executionId),
    close: async () => workers.clear(),
  };
}

/** What a worker must have to run it. */
export function wantedOf({ tenant, handler }: Pick<Workload, "tenant" | "handler">) {
  if (handler === null) throw new Error("a worker runs handlers only");
  return { tenant, pool: handler.pool, name: handler.name, constraints: handler.constraints };
}
