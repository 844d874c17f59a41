/** Figures of the process for Prometheus, from every instrument made after `startMetrics`. One provider a process. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { metrics } from "@opentelemetry/api";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider } from "@opentelemetry/sdk-metrics";

type WriteMetrics = (request: IncomingMessage, response: ServerResponse) => void;

let writeMetrics: WriteMetrics | undefined;
let started: PrometheusExporter | undefined;

/** A figure of this process as it is now. */
export interface Figure {
  /** In OpenTelemetry's words, such as `rpc.server.duration`. */
  readonly name: string;
  readonly description: string;
  readonly unit: string;
  /** Of a distribution the sum and the count of its values; of anything else the value. */
  readonly points: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
    readonly count?: number;
  }[];
}

/** What /metrics gives to Prometheus, for programs; nothing before `startMetrics`. What is not a number now is left out. */
export async function readFigures(): Promise<readonly Figure[]> {
  if (started === undefined) return [];
  const { resourceMetrics } = await started.collect();
  return resourceMetrics.scopeMetrics
    .flatMap(({ metrics: figures }) => figures)
    .map(({ descriptor: { name, description, unit }, dataPoints }) => ({
      name,
      description,
      unit,
      points: dataPoints.flatMap(({ attributes, value }) => {
        const labels = Object.fromEntries(Object.entries(attributes).map(([key, text]) => [key, String(text)]));
        if (typeof value === "number") return Number.isFinite(value) ? [{ labels, value }] : [];
        return [{ labels, value: value.sum ?? 0, count: value.count }];
      }),
    }));
}

/** Gives back how to answer a scrape. Further calls in the same process share the first one's provider. */
export function startMetrics(name: string): WriteMetrics {
  if (writeMetrics !== undefined) return writeMetrics;
  const exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const resource = resourceFromAttributes({ "service.name": `capstan-${name}` });
  metrics.setGlobalMeterProvider(new MeterProvider({ resource, readers: [exporter] }));
  observeProcess();
  started = exporter;
  writeMetrics = (request, response) => exporter.getMetricsRequestHandler(request, response);
  return writeMetrics;
}

function observeProcess(): void {
  const meter = metrics.getMeter("capstan");
  meter
    .createObservableGauge("process.memory.usage", { description: "Resident memory", unit: "By" })
    .addCallback((result) => result.observe(process.memoryUsage.rss()));
  meter
    .createObservableCounter("process.cpu.time", { description: "CPU time, user and system", unit: "s" })
    .addCallback((result) => {
      const { user, system } = process.cpuUsage();
      result.observe((user + system) / 1e6);
    });
  let before = performance.eventLoopUtilization();
  meter
    .createObservableGauge("nodejs.eventloop.utilization", {
      description: "Share of time it was busy since the last scrape",
    })
    .addCallback((result) => {
      const now = performance.eventLoopUtilization();
      result.observe(performance.eventLoopUtilization(now, before).utilization);
      before = now;
    });
}
