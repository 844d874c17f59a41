/** Workers as messages and facts, and pools as reports. */
import { type Fact, uuidv7 } from "@capstan/postgres";
import type { Worker } from "@capstan/proto/capstan/execution/v1/worker.ts";
import { WorkerEvent } from "@capstan/proto/capstan/execution/v1/worker_event.ts";
import type { PoolReport } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { PoolGroup, WorkerRow } from "./workerStore.ts";

export function toWorker(row: WorkerRow): Worker {
  return {
    id: row.id,
    tenant: row.tenant,
    pool: row.pool,
    slots: row.slots,
    handlers: [...row.handlers],
    labels: { ...row.labels },
    sdk: row.sdk,
    host: row.host,
    state: stateOf(row),
    createTime: row.create_time,
    leaseTime: row.lease_until,
  };
}

function stateOf(row: WorkerRow): Worker["state"] {
  if (!row.is_connected) return "WORKER_STATE_SILENT";
  return row.is_draining ? "WORKER_STATE_DRAINING" : "WORKER_STATE_CONNECTED";
}

/** `event` is `connected`, `disconnected` or `lost`. None is the last: a worker may come back after it was lost. */
export function toWorkerFact(row: WorkerRow, event: string, sequence: number): Fact {
  return {
    id: uuidv7(),
    tenant: row.tenant,
    noun: "worker",
    event,
    aggregateId: row.id,
    sequence,
    correlationId: "",
    causationId: "",
    traceparent: null,
    data: WorkerEvent.toJSON({ worker: toWorker(row) }) as object,
  };
}

/** One report per pool, in the order of the groups. */
export function toPoolReports(groups: readonly PoolGroup[]): readonly PoolReport[] {
  const byPool = Map.groupBy(groups, ({ tenant, pool }) => `${tenant}/${pool}`);
  return [...byPool.values()].map((ofPool) => ({
    tenant: ofPool[0]?.tenant ?? "",
    name: ofPool[0]?.pool ?? "",
    groups: ofPool.flatMap(({ handlers, labels, workers, slots }) =>
      handlers === null ? [] : [{ handlers: [...handlers], labels: labels ?? {}, workers, slots }],
    ),
    observeTime: ofPool[0]?.observe_time,
  }));
}
