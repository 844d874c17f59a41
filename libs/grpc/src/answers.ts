/** The answers of a server stream, read one by one; the call is cancelled when the reader stops early. */
import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { fromServiceError } from "./status.ts";

/** The answers up to the end, or to the refusal the stream ends with; for one reader. */
export function readAnswers<A>(stream: ClientReadableStream<A>, signal: AbortSignal | undefined): AsyncIterable<A> {
  let failure: ServiceError | undefined;
  // A failure may come before anybody reads, and comes after a reader has stopped; without a listener it would end the process.
  stream.on("error", (error: ServiceError) => {
    failure = error;
  });
  const cancel = () => stream.cancel();
  if (signal?.aborted === true) cancel();
  signal?.addEventListener("abort", cancel, { once: true });

  async function* read(): AsyncGenerator<A> {
    try {
      yield* stream;
    } catch (error) {
      if (failure === undefined) throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel();
    }
    if (failure !== undefined) throw fromServiceError(failure);
  }
  return { [Symbol.asyncIterator]: read };
}
