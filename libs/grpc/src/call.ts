/**
 * What a handler knows about the call it answers, beside the request. Everything is worked out when it is first asked for,
 * because most handlers ask for little and an AbortController alone costs more than the rest of the wrapper.
 */
import { randomUUID } from "node:crypto";
import type { EventEmitter } from "node:events";
import { DomainError } from "@capstan/errors";
import type { ServerUnaryCall } from "@grpc/grpc-js";
import { context, propagation } from "@opentelemetry/api";

/** What a handler knows about its call. */
export interface Call {
  /** Whose call it is; `default` until identity exists. */
  readonly tenant: string;
  /** When the caller stops waiting; null when it waits for ever. */
  readonly deadline: Date | null;
  /** Aborts when nobody waits for the answer any more: client gone, deadline passed, server stopped. The reason is a DomainError. */
  readonly signal: AbortSignal;
  /** The caller's `x-request-id`, or a new one; for logs, not for repeating safely (that is `request_id` of the request). */
  readonly requestId: string;
  /** The W3C trace to go on with, for what is stored and published; null when the caller has none and nothing records. */
  readonly traceparent: string | null;
}

/** What unary calls and streams of all kinds have in common on the server's side. */
export type ServerCall = Pick<ServerUnaryCall<unknown, unknown>, "cancelled" | "metadata" | "getDeadline"> &
  Pick<EventEmitter, "once" | "emit">;

/** The event `serve` emits on a call whose answer has no end of its own, when the server stops. */
export const stoppingEvent = "stopping";

/** A call, and how to say that it was answered, after which its signal stays as it is. */
export function openCall(serverCall: ServerCall): { call: Call; close(): void } {
  let controller: AbortController | undefined;
  let requestId: string | undefined;
  let isClosed = false;

  function openSignal(): AbortSignal {
    const opened = new AbortController();
    const abort = (reason: DomainError) => isClosed || opened.abort(reason);
    if (serverCall.cancelled) abort(whyCancelled(serverCall));
    // gRPC says "cancelled" after an answered call too, which is not an end anybody has to know of.
    else serverCall.once("cancelled", () => abort(whyCancelled(serverCall)));
    serverCall.once(stoppingEvent, () => abort(serverStopping));
    controller = opened;
    return opened.signal;
  }

  const call: Call = {
    tenant: "default",
    get deadline() {
      return deadlineOf(serverCall);
    },
    get signal() {
      return controller?.signal ?? openSignal();
    },
    get requestId() {
      requestId ??= readHeader(serverCall, "x-request-id", /^[\w.:/-]{1,128}$/) ?? randomUUID();
      return requestId;
    },
    get traceparent() {
      return activeTraceparent() ?? readHeader(serverCall, "traceparent", traceparentPattern);
    },
  };
  return {
    call,
    close() {
      isClosed = true;
    },
  };
}

/** Whether a call that gRPC calls cancelled was too late, or given up by its caller. */
export function isOverdue(serverCall: ServerCall): boolean {
  const deadline = deadlineOf(serverCall);
  return deadline !== null && deadline.getTime() <= Date.now();
}

const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** What a call is refused or ended with when the server stops. */
export const serverStopping = new DomainError({
  code: "UNAVAILABLE",
  reason: "SERVER_STOPPING",
  message: "the server is stopping; call again",
});

function whyCancelled(serverCall: ServerCall): DomainError {
  return isOverdue(serverCall)
    ? new DomainError({ code: "DEADLINE_EXCEEDED", reason: "DEADLINE_EXCEEDED", message: "the deadline has passed" })
    : new DomainError({ code: "CANCELLED", reason: "CANCELLED", message: "the caller has gone" });
}

function deadlineOf(serverCall: ServerCall): Date | null {
  const deadline = serverCall.getDeadline();
  if (deadline instanceof Date) return deadline;
  return Number.isFinite(deadline) ? new Date(deadline) : null;
}

/** What does not match is as good as absent: these texts end in logs and message headers. */
function readHeader(serverCall: ServerCall, name: string, pattern: RegExp): string | null {
  const text = serverCall.metadata.get(name)[0];
  return typeof text === "string" && pattern.test(text) ? text : null;
}

function activeTraceparent(): string | null {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? null;
}
