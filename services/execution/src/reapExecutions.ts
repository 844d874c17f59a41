/**
 * Compares what the engines have with what should be: an object without a live execution is removed; an execution that this
 * runner holds on paper but does not know is taken up or ended. Whatever crashed where, this is what cleans up after it.
 */
import type { Pool } from "@capstan/postgres";
import type { App, Loop } from "@capstan/service";
import type { AnyEnd, Backend } from "./backends/backend.ts";
import type { Backends } from "./backends.ts";
import { findLive } from "./executionStore.ts";
import type { Runner } from "./runner.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { listHeld, reclaimExecutions } from "./takeOverStore.ts";

export interface ReapOptions {
  readonly app: Pick<App, "startLoop" | "log">;
  readonly pool: Pool;
  readonly backends: Backends;
  readonly lease: RunnerLease;
  readonly runner: Runner;
  readonly intervalMs: number;
}

export function startReaper(options: ReapOptions): Loop {
  return options.app.startLoop({
    name: "reap-executions",
    intervalMs: options.intervalMs,
    once: async () => {
      await reclaimOnce(options);
      for (const backend of await options.backends.opened()) await reapOnce(backend, options);
    },
  });
}

/** An engine that does not answer is left for the next pass: its health tells. */
async function reapOnce(backend: Backend<AnyEnd>, { app, pool }: ReapOptions): Promise<void> {
  const listed = await backend.list().catch(() => []);
  if (listed.length === 0) return;
  // Read after listing: what was listed was recorded before, so what is not live now is over.
  const live = await findLive(pool, listed);
  for (const id of listed.filter((each) => !live.has(each))) {
    app.log.warn({ executionId: id }, "removing an object without a live execution");
    await backend.remove(id).catch((error) => {
      app.log.warn({ err: error, executionId: id }, "an object without a live execution could not be removed");
    });
  }
}

/** The answer of a commit was lost: the database says that this runner holds them, and it never heard of them. */
async function reclaimOnce({ app, pool, lease, runner }: ReapOptions): Promise<void> {
  const unknown = (await listHeld(pool, lease.id)).filter(({ id }) => !runner.knows(id));
  if (unknown.length === 0) return;
  // Those that ended in between are passed by; the new fence shuts out everybody else.
  const reclaimed = await reclaimExecutions(pool, lease.id, unknown);
  app.log.warn({ executions: reclaimed.length }, "took up executions that were recorded and not begun");
  // Under its first fence only the runner that recorded it can have begun it, and that is this one, which has not.
  runner.begin(reclaimed.filter(({ execution }) => execution.fence === 2));
  runner.takeOver(reclaimed.filter(({ execution }) => execution.fence > 2));
}
