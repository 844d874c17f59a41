/**
 * Clients with promises for callbacks and async iterables for streams. Nothing is retried here: whether a call may be repeated
 * is known to the caller only.
 */
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { context, propagation } from "@opentelemetry/api";
import { readAnswers } from "./answers.ts";
import { type Duplex, type DuplexListener, openDuplex } from "./duplex.ts";
import { fromServiceError } from "./status.ts";

/** What may be said with one call. */
export interface CallSettings {
  /** Unary: default 10,000 or what the client was made with. Streams have no deadline unless one is given. */
  readonly deadlineMs?: number;
  /** Aborting cancels the call; it then fails with CANCELLED. */
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
}

type UnaryMethod<Q, A> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: A) => void,
) => ClientUnaryCall;

type StreamMethod<Q, A> = (request: Q, metadata?: Metadata, options?: Partial<CallOptions>) => ClientReadableStream<A>;

type DuplexMethod<Q, A> = (metadata: Metadata, options?: Partial<CallOptions>) => ClientDuplexStream<Q, A>;

// Streams are asked for first, because what a stream returns is also what a unary call returns, and more.
type PromiseMethod<F> =
  F extends DuplexMethod<infer Q, infer A>
    ? (listener: DuplexListener<A>, settings?: CallSettings) => Duplex<Q>
    : F extends StreamMethod<infer Q, infer A>
      ? (request: Q, settings?: CallSettings) => AsyncIterable<A>
      : F extends UnaryMethod<infer Q, infer A>
        ? (request: Q, settings?: CallSettings) => Promise<A>
        : never;

/** A generated client with promises for callbacks, async iterables for streams, and listeners for streams both ways. */
export type PromiseClient<C extends Client> = {
  readonly [M in Exclude<keyof C, keyof Client>]: PromiseMethod<C[M]>;
} & {
  /** Ends the connection when the calls under way have ended. */
  close(): void;
};

/** A generated client class as ts-proto writes it. */
export interface ClientClass<C extends Client> {
  new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): C;
  readonly service: ServiceDefinition;
}

export const defaultDeadlineMs = 10_000;

export const settings: ClientOptions = {
  // A page of large jobs is larger than a request may be.
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // It tries again for ever; the pause decides how soon a server that came back is found.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Neither a proxy meant for the web nor settings in DNS have a say in calls inside the platform.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_channelz": 0,
};

/**
 * A client of one service at `address` (host:port). It connects with the first call and again whenever the connection is lost.
 * What the service refuses, and gRPC's own failures, arrive as DomainError. A stream begins with the call of its method and is
 * cancelled when its iteration ends early; one that is never iterated stays open.
 */
export function connectTo<C extends Client>(
  clientClass: ClientClass<C>,
  address: string,
  options: { readonly deadlineMs?: number } = {},
): PromiseClient<C> {
  const client = new clientClass(address, credentials.createInsecure(), settings);
  const deadlineMs = options.deadlineMs ?? defaultDeadlineMs;
  const methods = Object.entries(clientClass.service).map(([name, method]) => [
    name,
    promiseMethod(client, method, deadlineMs),
  ]);
  return { ...Object.fromEntries(methods), close: () => client.close() };
}

type Method = MethodDefinition<unknown, unknown>;

function promiseMethod(client: Client, method: Method, deadlineMs: number) {
  if (!method.responseStream) return unaryMethod(client, method, deadlineMs);
  return method.requestStream ? duplexMethod(client, method) : streamMethod(client, method);
}

function unaryMethod(client: Client, method: Method, defaultMs: number) {
  const { path, requestSerialize, responseDeserialize } = method;
  return (request: unknown, { deadlineMs = defaultMs, signal, metadata }: CallSettings = {}) =>
    new Promise((resolve, reject) => {
      const cancel = () => call.cancel();
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadataOf(metadata),
        { deadline: Date.now() + deadlineMs },
        (error, answer) => {
          signal?.removeEventListener("abort", cancel);
          if (error !== null) reject(fromServiceError(error));
          else resolve(answer);
        },
      );
      if (signal?.aborted === true) cancel();
      signal?.addEventListener("abort", cancel, { once: true });
    });
}

function streamMethod(client: Client, method: Method) {
  const { path, requestSerialize, responseDeserialize } = method;
  return (request: unknown, { deadlineMs, signal, metadata }: CallSettings = {}): AsyncIterable<unknown> => {
    const deadline = Date.now() + (deadlineMs ?? Number.POSITIVE_INFINITY);
    const headers = metadataOf(metadata);
    const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, headers, {
      deadline,
    });
    return readAnswers(stream, signal);
  };
}

function duplexMethod(client: Client, method: Method) {
  const { path, requestSerialize, responseDeserialize } = method;
  return (listener: DuplexListener<unknown>, { deadlineMs, signal, metadata }: CallSettings = {}) => {
    const deadline = Date.now() + (deadlineMs ?? Number.POSITIVE_INFINITY);
    const headers = metadataOf(metadata);
    const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, headers, { deadline });
    return openDuplex(stream, listener, signal);
  };
}

function metadataOf(entries: CallSettings["metadata"] = {}): Metadata {
  const metadata = new Metadata();
  propagation.inject(context.active(), metadata, { set: (headers, key, text) => headers.set(key, text) });
  for (const [key, text] of Object.entries(entries)) metadata.set(key, text);
  return metadata;
}
