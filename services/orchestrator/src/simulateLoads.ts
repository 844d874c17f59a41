/** `SimulateQueue`: the request as a simulation, and what came of it. */
import { type FieldViolation, invalid } from "@capstan/errors";
import type {
  SimulateQueueRequest,
  SimulateQueueResponse,
} from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import { checkSettings, defaultSettings, isQueueName } from "./queue.ts";
import { durationMs, settingsOf, toDuration } from "./queueProto.ts";
import { quantile, simulate } from "./simulate.ts";

const maxSlots = 10_000;
const maxLoads = 64;
/** The work of a simulation grows with its jobs, and it is done in one piece. */
const maxJobs = 20_000;
const dayMs = 86_400_000;

export function simulateLoads(request: SimulateQueueRequest): SimulateQueueResponse {
  const { slots, loads, queues } = request;
  const jobMs = durationMs(request.duration) || 1_000;
  const spanMs = durationMs(request.span) || 60_000;
  const settings = new Map(Object.entries(queues).map(([name, message]) => [name, settingsOf(message)]));
  const bad: FieldViolation[] = [];
  const refuseUnless = (isGood: boolean, field: string, description: string) => {
    if (!isGood) bad.push({ field, description });
  };
  refuseUnless(slots >= 1 && slots <= maxSlots, "slots", "must be 1 to 10,000");
  refuseUnless(jobMs >= 1 && jobMs <= dayMs, "duration", "must be 1 ms to 1 day");
  refuseUnless(spanMs >= 1_000 && spanMs <= dayMs, "span", "must be 1 s to 1 day");
  refuseUnless(loads.length >= 1 && loads.length <= maxLoads, "loads", "must have 1 to 64 items");
  for (const [index, { queue, perSecond }] of loads.entries()) {
    refuseUnless(
      perSecond > 0 && perSecond <= 10_000,
      `loads[${index}].per_second`,
      "must be more than 0, at most 10,000",
    );
    refuseUnless(queue === "" || isQueueName(queue), `loads[${index}].queue`, "is no name of a queue");
  }
  for (const [name, each] of settings) bad.push(...checkSettings(each, `queues[${name.slice(0, 64)}]`));
  const jobs = loads.reduce((sum, { perSecond }) => sum + perSecond * (spanMs / 1_000), 0);
  refuseUnless(jobs <= maxJobs, "loads", `are ${Math.round(jobs)} jobs; the limit is 20,000`);
  if (bad.length > 0) throw invalid(bad);
  const runs = simulate({
    ...{ slots, durationMs: jobMs },
    settingsOf: (_, queue) => settings.get(queue) ?? defaultSettings,
    loads: loads.map(({ tenant, queue, concurrencyKey, priority, perSecond }) => ({
      tenant: tenant || "default",
      queue: queue || "default",
      key: concurrencyKey,
      priority,
      readyMs: Array.from({ length: Math.floor(perSecond * (spanMs / 1_000)) }, (_, n) => (n * 1_000) / perSecond),
    })),
  });
  return {
    waits: loads.map((_, index) => {
      const waits = runs.filter(({ load }) => load === index).map(({ beginMs, readyMs }) => beginMs - readyMs);
      const at = (share: number) => toDuration(quantile(waits, share));
      return { begun: waits.length, p50: at(0.5), p99: at(0.99), max: at(1) };
    }),
  };
}
