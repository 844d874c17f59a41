/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context) between OpenTelemetry and the header `traceparent`, which is also how
 * facts and rows remember their trace. `tracestate` is not carried on: a fact has room for one text.
 */
import { isSpanContextValid, type TextMapPropagator, trace } from "@opentelemetry/api";

const header = "traceparent";
const pattern = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

export const traceparentPropagator: TextMapPropagator = {
  fields: () => [header],

  inject(context, carrier, setter) {
    const span = trace.getSpanContext(context);
    if (span === undefined || !isSpanContextValid(span)) return;
    const flags = span.traceFlags.toString(16).padStart(2, "0");
    setter.set(carrier, header, `00-${span.traceId}-${span.spanId}-${flags}`);
  },

  extract(context, carrier, getter) {
    const text = [getter.get(carrier, header)].flat()[0] ?? "";
    const [, traceId = "", spanId = "", flags = ""] = pattern.exec(text) ?? [];
    const span = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
    return isSpanContextValid(span) ? trace.setSpanContext(context, span) : context;
  },
};
