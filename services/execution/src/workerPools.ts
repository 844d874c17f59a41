/**
 * Which worker runs what: the connected workers of each pool, how much each still takes, and who waits for one. Nothing is sent
 * here; taking a worker uses up one of its credits.
 */
import { failingConstraint } from "@capstan/labels";
import type { HandlerCall } from "./backends/backend.ts";
import type { Registration } from "./worker.ts";

/** What a pool has to know of a worker. */
export interface Taker {
  readonly registration: Registration;
  /** Executions it takes more. */
  credit: number;
  /** False while it is silent, draining or slower than what is sent to it. */
  isOpen: boolean;
}

/** A call and whose it is. */
export type Wanted = Pick<HandlerCall, "pool" | "name" | "constraints"> & { readonly tenant: string };

interface WorkerPools<T extends Taker> {
  add(worker: T): void;
  remove(worker: T): void;
  /** A worker that takes the call now, one credit the poorer; null when none does, or others wait for the same. */
  take(wanted: Wanted): T | null;
  /** The next worker that takes the call, in the order in which was asked; null when the signal aborted first. */
  wait(wanted: Wanted, signal: AbortSignal): Promise<T | null>;
  /** A worker takes more: it has new credit, is open again, or was added. Those who wait for it are served. */
  serve(worker: T): void;
}

interface Pool<T> {
  readonly workers: T[];
  /** Where the next search begins, so that workers take turns. */
  next: number;
  /** By what they want, in the order in which they came. */
  readonly waiting: Map<string, Set<Waiting<T>>>;
}

interface Waiting<T> {
  readonly wanted: Wanted;
  resolve(worker: T): void;
}

export function createWorkerPools<T extends Taker>(): WorkerPools<T> {
  const pools = new Map<string, Pool<T>>();

  function poolOf({ tenant, pool: name }: { readonly tenant: string; readonly pool: string }): Pool<T> {
    const key = `${tenant}/${name}`;
    const known = pools.get(key) ?? { workers: [], next: 0, waiting: new Map() };
    pools.set(key, known);
    return known;
  }

  return {
    add(worker) {
      poolOf(worker.registration).workers.push(worker);
    },
    remove(worker) {
      const { workers } = poolOf(worker.registration);
      const at = workers.indexOf(worker);
      if (at >= 0) workers.splice(at, 1);
    },
    take(wanted) {
      const pool = poolOf(wanted);
      return pool.waiting.has(keyOf(wanted)) ? null : takeNext(pool, wanted);
    },
    wait(wanted, signal) {
      if (signal.aborted) return Promise.resolve(null);
      const taken = this.take(wanted);
      if (taken !== null) return Promise.resolve(taken);
      return new Promise((resolve) => enqueue(poolOf(wanted), wanted, signal, resolve));
    },
    serve(worker) {
      const pool = poolOf(worker.registration);
      for (const waiting of pool.waiting.values()) {
        for (const each of waiting) {
          const taken = takeNext(pool, each.wanted);
          if (taken === null) break;
          each.resolve(taken);
        }
      }
    },
  };
}

function takeNext<T extends Taker>(pool: Pool<T>, wanted: Wanted): T | null {
  const { workers } = pool;
  for (let tries = 0; tries < workers.length; tries += 1) {
    pool.next = pool.next + 1 < workers.length ? pool.next + 1 : 0;
    const worker = workers[pool.next];
    if (worker === undefined || !worker.isOpen || worker.credit <= 0) continue;
    if (!suits(worker.registration, wanted)) continue;
    worker.credit -= 1;
    return worker;
  }
  return null;
}

/** Whether a worker of the pool may run the call at all. */
export function suits(
  { handlers, labels }: Pick<Registration, "handlers" | "labels">,
  { name, constraints }: Pick<Wanted, "name" | "constraints">,
): boolean {
  return handlers.has(name) && (constraints.length === 0 || failingConstraint(constraints, labels) === null);
}

function enqueue<T>(
  { waiting }: Pool<T>,
  wanted: Wanted,
  signal: AbortSignal,
  resolve: (worker: T | null) => void,
): void {
  const key = keyOf(wanted);
  const others = waiting.get(key) ?? new Set();
  waiting.set(key, others);
  const leave = () => {
    others.delete(entry);
    if (others.size === 0 && waiting.get(key) === others) waiting.delete(key);
    signal.removeEventListener("abort", giveUp);
  };
  const giveUp = () => {
    leave();
    resolve(null);
  };
  const entry: Waiting<T> = {
    wanted,
    resolve(worker) {
      leave();
      resolve(worker);
    },
  };
  others.add(entry);
  signal.addEventListener("abort", giveUp, { once: true });
}

/** Of one pool, those with the same key are served by the same workers. */
export function keyOf({ name, constraints }: Wanted): string {
  return constraints.length === 0 ? name : JSON.stringify([name, constraints]);
}
