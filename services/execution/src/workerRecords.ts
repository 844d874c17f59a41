/** The rows and facts of this runner's workers: each change and its fact are one transaction. */
import { appendFacts, type Db, inTransaction, type Pool } from "@capstan/postgres";
import type { RunnerLease } from "./runnerLease.ts";
import type { Registration } from "./worker.ts";
import { toWorkerFact } from "./workerProto.ts";
import {
  addWorker,
  hasLapsedWorkers,
  lastSequences,
  removeLapsedWorkers,
  removeWorker,
  suspendWorker,
  type WorkerRow,
} from "./workerStore.ts";

export interface WorkerRecords {
  add(registration: Registration): Promise<void>;
  /** It has said goodbye, or was refused. */
  remove(registration: Registration): Promise<void>;
  suspend(registration: Registration, why: "draining" | "silent"): Promise<void>;
  /** Removes workers of any runner whose lease is over; gives back how many. */
  removeLapsed(): Promise<number>;
}

interface WorkerRecordsOptions {
  readonly pool: Pool;
  readonly lease: RunnerLease;
  readonly leaseMs: number;
  /** After each change of what a pool is made of. */
  readonly onChange: () => void;
}

export function createWorkerRecords({ pool, lease, leaseMs, onChange }: WorkerRecordsOptions): WorkerRecords {
  async function change(work: (db: Db) => Promise<{ rows: readonly WorkerRow[]; event: string }>): Promise<number> {
    return inTransaction(pool, async (db) => {
      const { rows, event } = await work(db);
      if (rows.length === 0) return 0;
      const last = await lastSequences(
        db,
        rows.map(({ id }) => id),
      );
      await appendFacts(
        db,
        rows.map((row) => toWorkerFact(row, event, (last.get(row.id) ?? 0) + 1)),
      );
      return rows.length;
    });
  }

  const lastTurns = new Map<string, Promise<unknown>>();

  /** What is written of one worker is written in the order in which it was asked for, whatever happens to it meanwhile. */
  async function inTurn(id: string, write: () => Promise<unknown>): Promise<void> {
    const turn = (lastTurns.get(id) ?? Promise.resolve()).then(write, write);
    lastTurns.set(id, turn);
    try {
      await turn;
    } finally {
      if (lastTurns.get(id) === turn) lastTurns.delete(id);
    }
    onChange();
  }

  return {
    add: (registration) =>
      inTurn(registration.id, () =>
        change(async (db) => {
          const { row, isNew } = await addWorker(db, registration, lease.id, leaseMs);
          return { rows: isNew ? [row] : [], event: "connected" };
        }),
      ),
    remove: ({ id }) =>
      inTurn(id, () =>
        change(async (db) => {
          const row = await removeWorker(db, lease.id, id);
          return { rows: row === null ? [] : [row], event: "disconnected" };
        }),
      ),
    suspend: ({ id }, why) => inTurn(id, () => suspendWorker(pool, lease.id, id, why)),
    async removeLapsed() {
      // One statement when there is none, as nearly always, instead of a transaction.
      if (!(await hasLapsedWorkers(pool))) return 0;
      return change(async (db) => ({ rows: await removeLapsedWorkers(db), event: "lost" }));
    },
  };
}
