/**
 * The workers of this runner in memory: those that are connected, and those that are silent and waited for until their lease is
 * over. What they have is driven like anything else, through the backend in backends/worker.ts; what they say comes in by
 * hearWorker.ts. An execution is given to one worker and to no other, unless that worker comes back and never got it.
 */
import type { ExecutionAssigned, ExecutionCancelled } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
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
  /** From now on it is silent; it may come back. */
  silence(worker: ConnectedWorker): void;
  /** Has a worker connect anew. */
  turnAway(worker: ConnectedWorker): void;
  /** A worker says that it has this execution; false if another has it. */
  hold(worker: ConnectedWorker, executionId: string): boolean;

  /** Takes a worker for an execution that is about to be recorded; false when none has room. */
  tryPromise(executionId: string, wanted: Wanted): boolean;
  /** Waits for a worker; false when the signal aborted first. */
  promise(executionId: string, wanted: Wanted, signal: AbortSignal): Promise<boolean>;
  /** Gives back what was promised and not used. */
  breakPromise(executionId: string): void;

  /** When `stopping` aborts before the worker says that it runs, it counts as running, so that it can be stopped. */
  start(workload: Workload, wanted: Wanted, sink: OutputSink, stopping?: AbortSignal): Promise<Running<HandlerEnd>>;
  /** Waits for its worker to come back with it; null when that takes longer than a lease. */
  adopt(executionId: string, sink: OutputSink): Promise<Running<HandlerEnd> | null>;
  list(): readonly string[];
  /** Its end is recorded, or nobody wants it any more: its worker may forget it. */
  forget(executionId: string): void;
  /** Forgets everything and has the workers connect anew. */
  clear(): void;
}

interface Promised {
  readonly worker: ConnectedWorker;
  /** The connection whose credit was used. */
  readonly link: WorkerLink | null;
}

export function createWorkers(leaseMs: number): Workers {
  const byId = new Map<string, ConnectedWorker>();
  const holders = new Map<string, ConnectedWorker>();
  const promised = new Map<string, Promised>();
  const awaited = new Map<string, (worker: ConnectedWorker | null) => void>();
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

  /** Who was promised; null if that connection has ended, because a worker says on each what it takes. */
  function redeem(executionId: string): ConnectedWorker | null {
    const promise = promised.get(executionId);
    promised.delete(executionId);
    return promise !== undefined && promise.worker.link === promise.link ? promise.worker : null;
  }

  function assign(
    worker: ConnectedWorker,
    link: WorkerLink,
    workload: Workload,
    sink: OutputSink,
    stopping: AbortSignal | undefined,
  ): Promise<Running<HandlerEnd>> {
    const followed = follow(worker, workload.executionId);
    followed.sink = sink;
    stopping?.addEventListener("abort", () => followed.start(new Date()), { once: true });
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
    silence(worker) {
      worker.link = null;
      this.refresh(worker);
    },
    turnAway(worker) {
      worker.link?.say({ isDraining: true });
      this.silence(worker);
    },
    hold(worker, executionId) {
      const holder = holders.get(executionId);
      if (holder !== undefined) return holder === worker;
      follow(worker, executionId).start(new Date());
      awaited.get(executionId)?.(worker);
      return true;
    },

    tryPromise(executionId, wanted) {
      if (promised.has(executionId)) return false;
      const worker = pools.take(wanted);
      if (worker !== null) promised.set(executionId, { worker, link: worker.link });
      return worker !== null;
    },
    async promise(executionId, wanted, signal) {
      const worker = await pools.wait(wanted, signal);
      if (worker !== null) promised.set(executionId, { worker, link: worker.link });
      return worker !== null;
    },
    breakPromise(executionId) {
      const worker = redeem(executionId);
      if (worker === null) return;
      worker.credit += 1;
      this.refresh(worker);
    },

    start(workload, wanted, sink, stopping) {
      const followed = find(workload.executionId);
      if (followed !== undefined) {
        followed.sink = sink;
        return followed.started;
      }
      const worker = redeem(workload.executionId) ?? pools.take(wanted);
      const link = worker?.link ?? null;
      if (worker === null || link === null) {
        return Promise.reject(new BackendUnavailable(`no worker of ${wanted.pool} has room for ${wanted.name}`));
      }
      return assign(worker, link, workload, sink, stopping);
    },
    adopt(executionId, sink) {
      const bind = (followed: WorkerExecution) => {
        followed.sink = sink;
        return followed.started;
      };
      const followed = find(executionId);
      if (followed !== undefined) return bind(followed);
      awaited.get(executionId)?.(null);
      return new Promise((resolve) => {
        const settle = (worker: ConnectedWorker | null) => {
          clearTimeout(giveUp);
          awaited.delete(executionId);
          const held = worker?.executions.get(executionId);
          resolve(held === undefined ? null : bind(held));
        };
        const giveUp = setTimeout(() => settle(null), leaseMs);
        awaited.set(executionId, settle);
      });
    },
    list: () => [...holders.keys()],
    forget(executionId) {
      const [link, followed] = [holders.get(executionId)?.link, find(executionId)];
      drop(executionId);
      if (followed?.hasSaidEnd === true) return link?.acknowledge(executionId);
      followed?.lose("it is over");
      link?.cancel(overOf(executionId));
    },
    clear() {
      for (const worker of byId.values()) {
        pools.remove(worker);
        this.turnAway(worker);
      }
      for (const settle of awaited.values()) settle(null);
      for (const each of [byId, holders, promised]) each.clear();
    },
  };
}

function toAssigned({ executionId, jobId, attempt, fence, handler }: Workload): ExecutionAssigned {
  if (handler === null) throw new Error("a worker runs handlers only");
  const { step, name, input, traceparent } = handler;
  return { executionId, fence, jobId, step, attempt, handler: name, input, traceparent: traceparent ?? "" };
}

/** Tells a worker to drop what is over for everybody else. */
export function overOf(executionId: string): ExecutionCancelled {
  return { executionId, reason: "REASON_LOST", message: "it is over", grace: undefined };
}

export function toDuration(ms: number): Duration {
  return { seconds: Math.floor(ms / 1_000), nanos: Math.round(ms % 1_000) * 1_000_000 };
}
