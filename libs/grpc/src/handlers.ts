/**
 * Turns plain async functions into gRPC handlers. What they throw becomes a status: a refusal with its details, anything else
 * masked, with the true error as `cause` for the server to log. Handlers have no logger for that reason.
 */
import { once } from "node:events";
import { DomainError } from "@capstan/errors";
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { type Call, openCall } from "./call.ts";
import { mask } from "./mask.ts";
import { isMalformed, malformedRequest } from "./registration.ts";
import { type StatusReply, toStatus } from "./status.ts";

/** A method with one answer. When nobody waits any more the answer is dropped; stop the work by `call.signal`. */
export function unary<Q, A>(handle: (request: Q, call: Call) => Promise<A>): handleUnaryCall<Q, A> {
  return async (serverCall, reply) => {
    const { call, close } = openCall(serverCall);
    try {
      const answer = await handle(serverCall.request, call);
      close();
      reply(null, answer);
    } catch (error) {
      close();
      reply(toReply(error));
    }
  };
}

/**
 * A method with a stream of answers: the next is asked for only when the client has room for it, and the generator is closed
 * when the call ends. A generator that waits for long must also end by `call.signal`.
 */
export function serverStream<Q, A>(
  handle: (request: Q, call: Call) => AsyncIterable<A>,
): handleServerStreamingCall<Q, A> {
  return async (stream) => {
    const { call, close } = openCall(stream);
    try {
      await Promise.race([send(handle(stream.request, call), stream, call.signal), rejectOnAbort(call.signal)]);
      close();
      stream.end();
    } catch (error) {
      close();
      // Not destroy(): the stream turns this event into the status it ends with.
      stream.emit("error", toReply(call.signal.aborted ? call.signal.reason : error));
    }
  };
}

/** The other side of a method with streams both ways. */
export interface BidiStream<Q, A> {
  /** What the client says, in order; ends when the client has said all. */
  readonly requests: AsyncIterable<Q>;
  /** False when the client is slower than we are: `hasRoom` resolves when it has caught up. Never refuses. */
  send(answer: A): boolean;
  hasRoom(): Promise<void>;
}

/** A method with streams both ways. The call ends when the handler does, which must also end by `call.signal`. */
export function bidiStream<Q, A>(
  handle: (stream: BidiStream<Q, A>, call: Call) => Promise<void>,
): handleBidiStreamingCall<Q, A> {
  return async (stream) => {
    const { call, close } = openCall(stream);
    const room = async () => {
      if (stream.writableNeedDrain) await once(stream, "drain", { signal: call.signal });
    };
    const bidi = { requests: readAll(stream), send: (answer: A) => stream.write(answer), hasRoom: room };
    try {
      await Promise.race([handle(bidi, call), rejectOnAbort(call.signal)]);
      close();
      stream.end();
    } catch (error) {
      close();
      stream.emit("error", toReply(call.signal.aborted ? call.signal.reason : error));
    }
  };
}

async function* readAll<Q, A>(stream: ServerDuplexStream<Q, A>): AsyncGenerator<Q> {
  for await (const request of stream.iterator({ destroyOnReturn: false })) {
    if (isMalformed(request)) throw malformedRequest();
    yield request;
  }
}

async function send<A>(answers: AsyncIterable<A>, stream: ServerWritableStream<unknown, A>, signal: AbortSignal) {
  for await (const answer of answers) {
    if (signal.aborted) return;
    if (!stream.write(answer)) await once(stream, "drain", { signal });
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal.aborted) reject(signal.reason);
  });
}

function toReply(error: unknown): StatusReply {
  const status = toStatus(mask(error));
  return error instanceof DomainError ? status : { ...status, cause: error };
}
