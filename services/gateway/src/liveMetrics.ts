/** Figures of live clients. Made when the process starts to serve them, not when this file is loaded. */
import { metrics } from "@opentelemetry/api";
import type { LiveDeps } from "./liveDeps.ts";

export function startLiveMetrics({ sessions, budget }: Pick<LiveDeps, "sessions" | "budget">): void {
  const meter = metrics.getMeter("@capstan/gateway");
  meter
    .createObservableGauge("capstan.live.sessions", { description: "Live clients of this process" })
    .addCallback((result) => result.observe(sessions.size));
  meter
    .createObservableGauge("capstan.live.waiting_bytes", { description: "What waits for slow WebSockets", unit: "By" })
    .addCallback((result) => result.observe(budget.bytes));
  const events = meter.createObservableCounter("capstan.live.events", {
    description: "Events sent to live clients, or left out because they read too slowly",
  });
  events.addCallback((result) => {
    const { deliveredEvents, droppedEvents } = sessions.totals();
    result.observe(deliveredEvents, { outcome: "sent" });
    result.observe(droppedEvents, { outcome: "dropped" });
  });
}
