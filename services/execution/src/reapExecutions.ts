/**
 * Compares what should be (the live executions), what this runner holds, and what the engines have: an object without a live
 * execution is removed; an execution that is held on paper and not known is taken up or ended; one whose object has ended without
 * a word is looked at again. Whatever crashed where, this is what cleans up after it.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Pool, TellRepair } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import type { AnyEnd, Backend, Listing } from "./backends/backend.ts";
import type { Backends } from "./backends.ts";
import { findKept } from "./executionStore.ts";
import type { Runner } from "./runner.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { listHeld, reclaimExecutions } from "./takeOverStore.ts";

interface ReapOptions {
  readonly app: Pick<App, "startLoop" | "log">;
  readonly pool: Pool;
  readonly backends: Backends;
  readonly lease: RunnerLease;
  readonly runner: Runner;
  readonly tell: TellRepair;
  readonly intervalMs: number;
}

/** So long after its end an object is still being removed by its runner. */
const removalMs = 5_000;

/** A pass waits no longer for its visits. One that takes longer goes on, and its engine is left out until it has ended. */
const patienceMs = 2_000;

export function startReaper(options: ReapOptions): Loop {
  // Never two visits to one engine: the second would take for silent what had no time to tell anything.
  const visited = new Set<Backend<AnyEnd>>();

  async function visit(backend: Backend<AnyEnd>, signal: AbortSignal): Promise<void> {
    if (visited.has(backend)) return;
    visited.add(backend);
    try {
      await visitOnce(backend, options);
    } catch (err) {
      // Told here, because nobody waits any more for a visit that takes long.
      if (!signal.aborted) options.app.log.warn({ err }, "what an engine has could not be compared");
    } finally {
      visited.delete(backend);
    }
  }

  return options.app.startLoop({
    name: "reap-executions",
    intervalMs: options.intervalMs,
    once: async (signal) => {
      await reclaimOnce(options);
      // Side by side: an engine that hangs must not hold up the others.
      const visits = Promise.all((await options.backends.opened()).map((backend) => visit(backend, signal)));
      await Promise.race([visits, delay(patienceMs, undefined, { ref: false })]);
    },
  });
}

/** An engine that does not answer is left for the next pass: its health tells. */
async function visitOnce(backend: Backend<AnyEnd>, options: ReapOptions): Promise<void> {
  const listing = await backend.list().catch(() => null);
  if (listing === null) return;
  await lookAgainOnce(listing, options);
  await reapOnce(backend, listing, options);
}

async function reapOnce(
  backend: Backend<AnyEnd>,
  { executionIds }: Listing,
  { app, pool, tell }: ReapOptions,
): Promise<void> {
  if (executionIds.length === 0) return;
  // Read after listing: what was listed was recorded before, so what is not live now is over.
  const kept = await findKept(pool, executionIds, removalMs);
  const removed: string[] = [];
  for (const id of executionIds.filter((each) => !kept.has(each))) {
    try {
      await backend.remove(id);
      removed.push(id);
    } catch (error) {
      app.log.warn({ err: error, executionId: id }, "an object without a live execution could not be removed");
    }
  }
  if (removed.length === 0) return;
  await tell({ repair: "remove-object", message: "an object had no live execution; it was removed", refs: removed });
}

/** What its backend follows over a connection that may be dead and not know it. */
async function lookAgainOnce(listing: Listing, { tell }: ReapOptions): Promise<void> {
  const refs = listing.lookAgain?.() ?? [];
  if (refs.length === 0) return;
  await tell({
    repair: "look-again",
    message: "an object had ended and nobody was told; it was looked at again",
    refs,
  });
}

/** The answer of a commit was lost: the database says that this runner holds them, and it never heard of them. */
async function reclaimOnce({ pool, lease, runner, tell }: ReapOptions): Promise<void> {
  const unknown = (await listHeld(pool, lease.id)).filter(({ id }) => !runner.knows(id));
  if (unknown.length === 0) return;
  // Those that ended in between are passed by; the new fence shuts out everybody else.
  const reclaimed = await reclaimExecutions(pool, lease.id, unknown);
  // Under its first fence only the runner that recorded it can have begun it, and that is this one, which has not.
  runner.begin(reclaimed.filter(({ execution }) => execution.fence === 2));
  runner.takeOver(reclaimed.filter(({ execution }) => execution.fence > 2));
  // What waits for its turn may have been handed over, and then all is as it should be.
  const refs = reclaimed.filter(({ execution }) => execution.state !== "ASSIGNED").map(({ execution }) => execution.id);
  if (refs.length === 0) return;
  await tell({
    repair: "take-up-execution",
    message: "an execution was recorded and not known; it was taken up",
    refs,
  });
}
