/** Waits until nothing is under way any more: no job, saga, execution, reservation or fact to publish, nothing that runs. */
import { setTimeout as sleep } from "node:timers/promises";
import { listContainers } from "./engine.ts";
import type { Platform } from "./platform.ts";
import { listMarkedProcesses } from "./processes.ts";

const busy = `
  select (select count(*) from job.job where end_time is null)::int as jobs,
         (select count(*) from orchestrator.saga where stage not in ('DONE', 'COMPENSATED'))::int as sagas,
         (select count(*) from execution.execution where end_time is null)::int as executions,
         (select count(*) from provider.reservation where end_time is null)::int as reservations,
         ((select count(*) from job.outbox) + (select count(*) from provider.outbox)
           + (select count(*) from execution.outbox) + (select count(*) from orchestrator.outbox))::int as outboxes`;

/** The platform, or that of a test. */
type Quietable = Pick<Platform, "query" | "engine">;

/** Milliseconds until it was quiet; null, with what is still under way, when that has not become less for `stillMs`. */
export async function untilQuiet(
  platform: Quietable,
  stillMs: number,
  onLook: (busy: string) => void = () => {},
): Promise<{ readonly afterMs: number | null; readonly left: string }> {
  const begin = performance.now();
  let quietLooks = 0;
  let least = Number.POSITIVE_INFINITY;
  let movedAt = begin;
  for (let look = 0; ; look++) {
    const { text: left, count } = await whatIsLeft(platform).catch(unknownLeft);
    if (count < least) {
      least = count;
      movedAt = performance.now();
    }
    // Twice, because a fact may be on its way from an outbox to whoever acts on it.
    quietLooks = left === "" ? quietLooks + 1 : 0;
    if (quietLooks === 3) return { afterMs: performance.now() - begin, left: "" };
    if (performance.now() - movedAt > stillMs) return { afterMs: null, left };
    if (look % 20 === 19) onLook(left);
    await sleep(500);
  }
}

interface Left {
  readonly text: string;
  readonly count: number;
}

const unknownLeft = (error: Error): Left => ({ text: error.message, count: Number.POSITIVE_INFINITY });

async function whatIsLeft({ query, engine }: Quietable): Promise<Left> {
  const [row = {}] = await query(busy);
  const counts = Object.entries(row).filter(([, count]) => Number(count) > 0);
  const ids = new Set((await listMarkedProcesses()).map(({ executionId }) => executionId));
  const containers = engine === null ? [] : await listContainers(engine.docker);
  const [installation] = await query("select id::text from execution.installation");
  const ours = containers.filter((container) => container.installation === installation?.["id"]);
  if (ours.length > 0) counts.push(["containers", ours.length]);
  const known =
    ids.size === 0
      ? []
      : await query("select id from execution.execution where id::text = any($1::text[])", [[...ids]]);
  if (known.length > 0) counts.push(["executions with processes", known.length]);
  const sum = counts.reduce((all, [, count]) => all + Number(count), 0);
  return { text: counts.map(([what, count]) => `${count} ${what}`).join(", "), count: sum };
}
