/**
 * Traces go to an OpenTelemetry collector when OTEL_EXPORTER_OTLP_ENDPOINT names one. Otherwise the SDK is not even loaded, and
 * what the libs say to OpenTelemetry's API ends in its no-ops; a caller's trace still goes on, because `traceparent` is a
 * text that is handed on.
 */
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { traceparentPropagator } from "./traceparent.ts";

/** Starts it for the process when it is configured; gives back how to flush and end it. */
export async function startTracing(name: string): Promise<() => Promise<void>> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = process.env;
  if (!(OTEL_EXPORTER_OTLP_ENDPOINT || OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)) return async () => {};
  const [sdk, { OTLPTraceExporter }, { resourceFromAttributes }, { AsyncLocalStorageContextManager }] =
    await Promise.all([
      import("@opentelemetry/sdk-trace"),
      import("@opentelemetry/exporter-trace-otlp-http"),
      import("@opentelemetry/resources"),
      import("@opentelemetry/context-async-hooks"),
    ]);
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ "service.name": `capstan-${name}` }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(traceparentPropagator);
  trace.setGlobalTracerProvider(provider);
  return () => provider.shutdown();
}

/** A span around work that no RPC surrounds, such as what a message leads to. */
export interface WorkSpan {
  /** The trace to go on with: of this span, or the one given when nothing records; null when there is none. */
  readonly traceparent: string | null;
  /** With an error the span is marked as failed. */
  end(error?: unknown): void;
}

const tracer = trace.getTracer("capstan");

/** Starts a span, child of the one `traceparent` names; one that is only told of when it is over has begun at `startTime`. */
export function spanFor(
  name: string,
  traceparent: string | null,
  attributes: Readonly<Record<string, string | number | boolean>> = {},
  { startTime }: { readonly startTime?: Date } = {},
): WorkSpan {
  const parent = traceparent === null ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, { traceparent });
  const span = tracer.startSpan(name, { kind: SpanKind.CONSUMER, attributes, ...(startTime && { startTime }) }, parent);
  if (!span.isRecording()) return { traceparent, end() {} };
  const carrier: { traceparent?: string } = {};
  propagation.inject(trace.setSpan(parent, span), carrier);
  return {
    traceparent: carrier.traceparent ?? null,
    end(error) {
      if (error !== undefined) {
        span.recordException(error instanceof Error ? error : String(error));
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    },
  };
}
