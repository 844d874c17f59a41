/**
 * A call with streams both ways, as its caller holds it. A listener instead of an iterable: what comes is mostly an answer to nothing
 * that was just said, and it is taken in the turn of the event loop in which it came.
 */
import type { DomainError } from "@capstan/errors";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import { fromServiceError } from "./status.ts";

export interface DuplexListener<A> {
  onAnswer(answer: A): void;
  /** Called after `send` has answered false, when there is room again. */
  onRoom?(): void;
  /** Called once, after the last answer. Null if the server has ended the call in order. */
  onEnd(failure: DomainError | null): void;
}

export interface Duplex<Q> {
  /** False when the server is slower than we are; nothing is refused, it waits here. Does nothing once the call or our side of it has ended. */
  send(request: Q): boolean;
  /** Says that all is said; answers may still come. */
  end(): void;
  /** Ends the call at once; it then fails with CANCELLED. */
  cancel(): void;
}

export function openDuplex<Q, A>(
  stream: ClientDuplexStream<Q, A>,
  listener: DuplexListener<A>,
  signal: AbortSignal | undefined,
): Duplex<Q> {
  let hasEnded = false;
  let hasSaidAll = false;
  const cancel = () => stream.cancel();

  function finish(failure: DomainError | null): void {
    if (hasEnded) return;
    hasEnded = true;
    signal?.removeEventListener("abort", cancel);
    listener.onEnd(failure);
  }

  stream.on("data", (answer: A) => listener.onAnswer(answer));
  stream.on("drain", () => listener.onRoom?.());
  stream.on("error", (error: ServiceError) => finish(fromServiceError(error)));
  stream.on("end", () => finish(null));
  if (signal?.aborted === true) cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  return {
    send: (request) => hasEnded || hasSaidAll || stream.write(request),
    end() {
      hasSaidAll = true;
      stream.end();
    },
    cancel,
  };
}
