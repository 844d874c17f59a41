/**
 * The workers of this runner in memory: those that are connected, and those that are silent and waited for until their lease is
 * over. What they have is driven like anything else, through the backend in backends/worker.ts; what they say comes in by
 * hearWorker.ts. An execution is given to one worker and to no other, unless that worker comes back and never got it.
 */
import type { ExecutionAssigned } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import type { HandlerEnd, OutputSink, Running, Workload } from "./backends/backend.ts";
import { BackendUnavailable } from "./backends/backend.ts";
import type { Stop } from "./execution.ts";
import { toReason } from "./executionProto.ts";
import type { Registration } from "./worker.ts";
import { followExecution, type WorkerExecution } from "./workerExecution.ts";
import type { WorkerLink } from "./workerLink.ts";
import { createWorkerPools, type Taker, type Wanted } from "./workerPools.ts";

export interface ConnectedWorker extends Taker {
  registration: Registration;
  readonly executions: Map<string, WorkerExecution>;
  /** Null while it is silent. */
  link: WorkerLink | null;
  /** When it last said something; monotonic. */
  heardMs: number;
  isDraining: boolean;
}

export interface Workers {
  get(workerId: string): ConnectedWorker | undefined;
  all(): IterableIterator<ConnectedWorker>;
  add(worker: ConnectedWorker): void;
  /** Forgets a worker; what it still has is lost. */
  remove(worker: ConnectedWorker, message: string): void;
  /** Whether it takes executions may have changed: its credit, its connection, whether it drains. */
  refresh(worker: ConnectedWorker, hasRoom?: boolean): void;
  /** A worker says that it has this execution. */
  hold(worker: ConnectedWorker, executionId: string): void;

  /** Takes a worker for an execution that is about to be recorded; false when none has room. */
  tryPromise(executionId: string, wanted: Wanted): boolean;
  /** Waits for a worker; false when the signal aborted first. */
  promise(executionId: string, wanted: Wanted, signal: AbortSignal): Promise<boolean>;
  /** Gives back what was promised and not used. */
  breakPromise(executionId: string): void;

  start(workload: Workload, wanted: Wanted, sink: OutputSink): Promise<Running<HandlerEnd>>;
  /** Waits for its worker to come back with it; null when that takes longer than a lease. */
  adopt(executionId: string, sink: OutputSink): Promise<Running<HandlerEnd> | null>;
  list(): readonly string[];
  /** Its end is recorded, or nobody wants it any more: its worker may forget it. */
  forget(executionId: string): void;
  /** Forgets everything and has the workers connect anew. */
  clear(): void;
}

export function createWorkers(leaseMs: number): Workers {
  const byId = new Map<string, ConnectedWorker>();
  const holders = new Map<string, ConnectedWorker>();
  const promised = new Map<string, ConnectedWorker>();
  const awaited = new Map<string, (worker: ConnectedWorker) => void>();
  const pools = createWorkerPools<ConnectedWorker>();

  function follow(worker: ConnectedWorker, executionId: string): WorkerExecution {
    const askToStop = (graceMs: number, why: Stop | undefined) => {
      const { reason, message } = why ?? { reason: "UNSPECIFIED", message: "" };
      worker.link?.cancel({ executionId, reason: toReason(reason), message, grace: toDuration(graceMs) });
    };
    const followed = followExecution(executionId, worker.registration.id, askToStop, leaseMs);
    worker.executions.set(executionId, followed);
    holders.set(executionId, worker);
    return followed;
  }

  function find(executionId: string): WorkerExecution | undefined {
    return holders.get(executionId)?.executions.get(executionId);
  }

  function drop(executionId: string): void {
    holders.get(executionId)?.executions.delete(executionId);
    holders.delete(executionId);
  }

  function assign(
    worker: ConnectedWorker,
    link: WorkerLink,
    workload: Workload,
    sink: OutputSink,
  ): Promise<Running<HandlerEnd>> {
    const followed = follow(worker, workload.executionId);
    followed.sink = sink;
    link.assign(toAssigned(workload));
    // It never got there: the next start may choose another.
    followed.started.catch(() => drop(workload.executionId));
    return followed.started;
  }

  return {
    get: (workerId) => byId.get(workerId),
    all: () => byId.values(),
    add(worker) {
      byId.set(worker.registration.id, worker);
      pools.add(worker);
    },
    remove(worker, message) {
      if (byId.get(worker.registration.id) === worker) byId.delete(worker.registration.id);
      pools.remove(worker);
      worker.isOpen = false;
      worker.link = null;
      for (const { id, lose } of worker.executions.values()) {
        lose(message);
        if (holders.get(id) === worker) holders.delete(id);
      }
    },
    refresh(worker, hasRoom = true) {
      worker.isOpen = worker.link !== null && !worker.isDraining && hasRoom;
      if (worker.isOpen && worker.credit > 0) pools.serve(worker);
    },
    hold(worker, executionId) {
      follow(worker, executionId).start(new Date());
      awaited.get(executionId)?.(worker);
    },

    tryPromise(executionId, wanted) {
      if (promised.has(executionId)) return false;
      const worker = pools.take(wanted);
      if (worker !== null) promised.set(executionId, worker);
      return worker !== null;
    },
    async promise(executionId, wanted, signal) {
      const worker = await pools.wait(wanted, signal);
      if (worker !== null) promised.set(executionId, worker);
      return worker !== null;
    },
    breakPromise(executionId) {
      const worker = promised.get(executionId);
      if (worker === undefined) return;
      promised.delete(executionId);
      worker.credit += 1;
      this.refresh(worker);
    },

    start(workload, wanted, sink) {
      const followed = find(workload.executionId);
      if (followed !== undefined) {
        followed.sink = sink;
        return followed.started;
      }
      const worker = promised.get(workload.executionId) ?? pools.take(wanted);
      promised.delete(workload.executionId);
      const link = worker?.link ?? null;
      if (worker === null || link === null) {
        return Promise.reject(new BackendUnavailable(`no worker of ${wanted.pool} has room for ${wanted.name}`));
      }
      return assign(worker, link, workload, sink);
    },
    adopt(executionId, sink) {
      const bind = (followed: WorkerExecution) => {
        followed.sink = sink;
        return followed.started;
      };
      const followed = find(executionId);
      if (followed !== undefined) return bind(followed);
      return new Promise((resolve) => {
        const giveUp = setTimeout(() => {
          awaited.delete(executionId);
          resolve(null);
        }, leaseMs);
        awaited.set(executionId, ({ executions }) => {
          clearTimeout(giveUp);
          awaited.delete(executionId);
          const held = executions.get(executionId);
          resolve(held === undefined ? null : bind(held));
        });
      });
    },
    list: () => [...holders.keys()],
    forget(executionId) {
      const worker = holders.get(executionId);
      drop(executionId);
      worker?.link?.acknowledge(executionId);
    },
    clear() {
      for (const worker of byId.values()) {
        pools.remove(worker);
        worker.isOpen = false;
        worker.link?.say({ isDraining: true });
        worker.link = null;
      }
      for (const each of [byId, holders, promised]) each.clear();
    },
  };
}

function toAssigned({ executionId, jobId, attempt, fence, handler }: Workload): ExecutionAssigned {
  if (handler === null) throw new Error("a worker runs handlers only");
  const { step, name, input, traceparent } = handler;
  return { executionId, fence, jobId, step, attempt, handler: name, input, traceparent: traceparent ?? "" };
}

export function toDuration(ms: number): Duration {
  return { seconds: Math.floor(ms / 1_000), nanos: Math.round(ms % 1_000) * 1_000_000 };
}
