/** The span of one call on the server's side. Costs next to nothing while no tracer is registered. */
import type { Metadata } from "@grpc/grpc-js";
import { status as grpcStatus } from "@grpc/grpc-js";
import { type Context, context, propagation, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { namesOf } from "./registration.ts";

const tracer = trace.getTracer("capstan");

const headers = {
  get: (metadata: Metadata, key: string) => metadata.get(key).map(String),
  keys: (metadata: Metadata) => Object.keys(metadata.getMap()),
};

/** Starts the span of a call, child of the caller's; the context is what its handler runs in. */
export function startCallSpan(path: string, metadata: Metadata): { span: Span; spanContext: Context } {
  const parent = propagation.extract(context.active(), metadata, headers);
  const span = tracer.startSpan(path.slice(1), { kind: SpanKind.SERVER }, parent);
  return { span, spanContext: trace.setSpan(parent, span) };
}

// The other codes are the caller's doing, which is no error of this server.
const serverErrors: readonly CodeName[] = ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"];

export type CodeName = keyof typeof grpcStatus;

/** Ends it with the outcome, in the words of OpenTelemetry's conventions for RPC. */
export function endCallSpan(span: Span, path: string, code: CodeName): void {
  if (span.isRecording()) {
    const { service, method } = namesOf(path);
    span.setAttributes({
      "rpc.system": "grpc",
      "rpc.service": service,
      "rpc.method": method,
      "rpc.grpc.status_code": grpcStatus[code],
    });
    if (serverErrors.includes(code)) span.setStatus({ code: SpanStatusCode.ERROR, message: code });
  }
  span.end();
}
