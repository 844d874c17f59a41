/** The span and the duration of one request over HTTP, in the words of OpenTelemetry's conventions; next to nothing while nobody records. */
import { context, type Histogram, metrics, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";

const tracer = trace.getTracer("capstan");
const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

interface HttpSpan {
  /** To go on with: of this span, or the caller's own when nothing records; null if there is none. */
  readonly traceparent: string | null;
  end(status: number): void;
}

/** Make it once the metrics of the process have started. */
export function createHttpSpans(): (route: string, method: string, traceparent: unknown) => HttpSpan {
  const durations = createDurations();
  return (route, method, traceparent) => {
    const startMs = performance.now();
    const given = typeof traceparent === "string" && traceparentPattern.test(traceparent) ? traceparent : null;
    const parent = given === null ? context.active() : propagation.extract(context.active(), { traceparent: given });
    const span = tracer.startSpan(`${method} ${route}`, { kind: SpanKind.SERVER }, parent);
    const carrier: { traceparent?: string } = {};
    if (span.isRecording()) propagation.inject(trace.setSpan(parent, span), carrier);
    const labels = { "http.request.method": method, "http.route": route };
    return {
      traceparent: carrier.traceparent ?? given,
      end(status) {
        durations.record(performance.now() - startMs, { ...labels, "http.response.status_code": status });
        if (span.isRecording()) {
          span.setAttributes({ ...labels, "http.response.status_code": status });
          if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
        }
        span.end();
      },
    };
  };
}

function createDurations(): Histogram {
  return metrics.getMeter("capstan").createHistogram("http.server.request.duration", {
    description: "Time from the request to the end of the answer",
    unit: "ms",
    advice: { explicitBucketBoundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000] },
  });
}
