/**
 * Tells the job context how deep queues may be and how fast they are drained: it refuses what comes on top, and says when to come again.
 * A limit is also told when it is set; this repairs what was lost, and keeps the rates fresh. Asks nothing of the database, and nobody
 * of anything while no queue has such a limit.
 */
import type { App, Loop } from "@capstan/service";
import type { DrainRates } from "./drainRate.ts";
import type { KnownQueues } from "./knownQueues.ts";
import type { Contexts } from "./perform.ts";

const intervalMs = 10_000;
/** The most that the RPC takes. */
const maxLimits = 1_000;

interface TellOptions {
  readonly contexts: Pick<Contexts, "jobs">;
  readonly queues: Pick<KnownQueues, "all">;
  readonly drain: DrainRates;
}

export function startTellingLimits(app: App, options: TellOptions): Loop {
  return app.startLoop({ name: "tell-queue-limits", intervalMs, once: () => tellLimitsOnce(options) });
}

async function tellLimitsOnce({ contexts, queues, drain }: TellOptions): Promise<void> {
  const limits = queues
    .all()
    .flatMap(({ tenant, name: queue, settings: { maxDepth } }) =>
      maxDepth === 0 ? [] : [{ tenant, queue, maxDepth, drainPerSecond: drain.perSecond(tenant, queue) }],
    );
  for (let from = 0; from < limits.length; from += maxLimits) {
    await contexts.jobs.setQueueLimits({ limits: limits.slice(from, from + maxLimits) });
  }
}
