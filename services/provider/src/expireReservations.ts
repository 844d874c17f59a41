/**
 * The two sweeps over reservations: those that nobody confirmed give their capacity back, and those that ended long ago are
 * forgotten. Every replica may run them; the locks make them harmless to each other.
 */
import type { Pool } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import type { Capacity } from "./capacity.ts";
import { deleteEnded } from "./reservationStore.ts";

const expireBatch = 500;
const pruneBatch = 1_000;
const pruneIntervalMs = 600_000;

export function startExpiry(app: App, capacity: Capacity, intervalMs: number): Loop {
  return app.startLoop({ name: "expire-reservations", intervalMs, once: () => expireReservationsOnce(capacity) });
}

/** One pass; true when there may be more. */
export async function expireReservationsOnce(capacity: Capacity): Promise<boolean> {
  return (await capacity.expire(expireBatch)) === expireBatch;
}

/** `keptMs` must be longer than any command may be repeated, because a forgotten reservation could be made anew. */
export function startPruning(app: App, pool: Pool, keptMs: number): Loop {
  return app.startLoop({
    name: "prune-reservations",
    intervalMs: pruneIntervalMs,
    once: () => pruneReservationsOnce(pool, keptMs),
  });
}

/** One pass; true when there may be more. */
export async function pruneReservationsOnce(pool: Pool, keptMs: number): Promise<boolean> {
  return (await deleteEnded(pool, keptMs, pruneBatch)) === pruneBatch;
}
