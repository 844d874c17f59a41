/**
 * What a server sees of every call, whoever handles it: one span, one duration in the histogram, and one log line when an error
 * was no refusal. The first ending counts: a call that was given up stays CANCELLED although its handler goes on to answer.
 */
import { DomainError } from "@capstan/errors";
import { type Failpoints, failpoints } from "@capstan/failpoints";
import {
  status as grpcStatus,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type MethodDefinition,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { context, type Histogram, metrics } from "@opentelemetry/api";
import { isOverdue, type ServerCall } from "./call.ts";
import { type CodeName, endCallSpan, startCallSpan } from "./callSpan.ts";
import type { Log } from "./log.ts";
import { decodeOrMark, namesOf, refuseEarly, type ServiceRegistration } from "./registration.ts";
import { type StatusReply, toStatus } from "./status.ts";

/** The same service, observed; `openStreams` holds its streams that have not ended. Refuses one that lacks a method. */
export function observe(
  { definition, implementation }: ServiceRegistration,
  log: Log,
  openStreams: Set<ServerCall>,
): ServiceRegistration {
  const durations = createDurations();
  const methods = Object.entries(definition).map(([name, method]) => {
    const handler = implementation[name];
    // It would answer UNIMPLEMENTED, which is found in production.
    if (handler === undefined) throw new Error(`${method.path} has no implementation`);
    const begin = createBegin(method.path, durations, log);
    const observed = observeMethod(method, handler.bind(implementation), begin, openStreams);
    return { name, method: decodeOrMark(method), observed };
  });
  return {
    definition: Object.fromEntries(methods.map(({ name, method }) => [name, method])),
    implementation: Object.fromEntries(methods.map(({ name, observed }) => [name, observed])),
  };
}

function createDurations(): Histogram {
  return metrics.getMeter("capstan").createHistogram("rpc.server.duration", {
    description: "Time from the request to the end of the answer",
    unit: "ms",
    advice: { explicitBucketBoundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000] },
  });
}

type Begin = ReturnType<typeof createBegin>;

function observeMethod(
  method: MethodDefinition<unknown, unknown>,
  handler: UntypedHandleCall,
  begin: Begin,
  openStreams: Set<ServerCall>,
): UntypedHandleCall {
  if (method.responseStream) return observeStream(begin, handler as StreamHandler, openStreams);
  if (method.requestStream) throw new Error(`${method.path} only takes a stream, which this server does not observe`);
  const unary = handler as handleUnaryCall<unknown, unknown>;
  return observeUnary(begin, failpoints === null ? unary : failingUnary(failpoints, method.path, unary));
}

type UnaryAnswer = Parameters<Parameters<handleUnaryCall<unknown, unknown>>[1]>;

/** What a failpoint throws is told as an outage, and what it lets hang is never answered. */
function failingUnary(
  { around }: Failpoints,
  path: string,
  handler: handleUnaryCall<unknown, unknown>,
): handleUnaryCall<unknown, unknown> {
  return (call, reply) => {
    const answered = () => new Promise<UnaryAnswer>((resolve) => handler(call, (...answer) => resolve(answer)));
    around("answer", namesOf(path).method, answered).then(
      (answer) => reply(...answer),
      (error: Error) => {
        const outage = { code: "UNAVAILABLE", reason: "FAILPOINT", message: error.message } as const;
        reply(toStatus(new DomainError(outage)));
      },
    );
  };
}

function observeUnary(begin: Begin, handler: handleUnaryCall<unknown, unknown>): handleUnaryCall<unknown, unknown> {
  return (call, reply) => {
    const { end, within } = begin(call);
    call.once("cancelled", () => end(givenUp(call)));
    const refusal = refuseEarly(call);
    const answer: typeof reply = (error, value, trailer, flags) => {
      end(nameOf(error), causeOf(error));
      reply(error, value, trailer, flags);
    };
    if (refusal !== null) answer(toStatus(refusal));
    else within(() => handler(call, answer));
  };
}

type StreamHandler = handleServerStreamingCall<unknown, unknown> & handleBidiStreamingCall<unknown, unknown>;
type StreamCall = Parameters<StreamHandler>[0];

/** Streams of answers, whether they take one request or a stream of them. */
function observeStream(begin: Begin, handler: StreamHandler, openStreams: Set<ServerCall>): UntypedHandleCall {
  return (call: StreamCall) => {
    const { end, within } = begin(call);
    const close = (code: CodeName, cause?: unknown) => {
      openStreams.delete(call);
      end(code, cause);
    };
    openStreams.add(call);
    call.once("cancelled", () => close(givenUp(call)));
    call.once("error", (error: StatusReply) => close(nameOf(error), causeOf(error)));
    call.once("finish", () => close("OK"));
    const refusal = refuseEarly(call);
    if (refusal !== null) call.emit("error", toStatus(refusal));
    else within(() => handler(call));
  };
}

function givenUp(call: ServerCall): CodeName {
  return isOverdue(call) ? "DEADLINE_EXCEEDED" : "CANCELLED";
}

function nameOf(error: { code?: number } | null): CodeName {
  return error === null ? "OK" : ((grpcStatus[error.code ?? grpcStatus.UNKNOWN] ?? "UNKNOWN") as CodeName);
}

function causeOf(error: object | null): unknown {
  return error !== null && "cause" in error ? error.cause : undefined;
}

/** How to begin observing a call of one method: `within` runs its handler in its span, `end` counts the first time only. */
function createBegin(path: string, durations: Histogram, log: Log) {
  const labels = namesOf(path);

  return (call: ServerCall) => {
    const startMs = performance.now();
    const { span, spanContext } = startCallSpan(path, call.metadata);
    let hasEnded = false;
    return {
      within: (work: () => void) => context.with(spanContext, work),
      end(code: CodeName, cause?: unknown) {
        if (cause !== undefined) logFailure(log, path, code, cause, hasEnded);
        if (hasEnded) return;
        hasEnded = true;
        durations.record(performance.now() - startMs, { ...labels, code });
        endCallSpan(span, path, code);
      },
    };
  };
}

/** What a call fails with after it was given up is mostly the giving up itself, so it is not reported as a failure. */
function logFailure(log: Log, rpc: string, code: CodeName, err: unknown, wasGivenUp: boolean): void {
  if (wasGivenUp) log.debug({ rpc, err }, "call failed after it was given up");
  else log.error({ rpc, code, err }, "call failed");
}
