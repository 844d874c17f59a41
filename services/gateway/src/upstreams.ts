/** The contexts behind the gateway: who answers an RPC, and asking them, message as bytes. */
import { connectRaw, fromServiceError, type RawClient, type ServiceRegistration } from "@capstan/grpc";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Config } from "./config.ts";
import type { Rpc } from "./contracts.ts";

export interface AskOptions {
  readonly metadata: Readonly<Record<string, string>>;
  readonly deadlineMs: number;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export interface Upstreams {
  /** By context. */
  readonly contexts: Readonly<Record<ContextName, RawClient>>;
  /** Throws a DomainError for whatever goes wrong. */
  ask(rpc: Rpc, request: Uint8Array, options: AskOptions): Promise<Uint8Array>;
  /** The answers of a server stream, message by message; ending the iteration ends the call. */
  follow(rpc: Rpc, request: Uint8Array, options: AskOptions): AsyncIterable<Uint8Array>;
  /** What the gateway answers itself. */
  addOwn(service: ServiceRegistration): void;
  close(): void;
}

const defaultDeadlineMs = 10_000;
/** What a call that waits by itself may take beyond that. */
const maxWaitMs = 10 * 60_000;

/** How long a call may take that waits by itself for so long; most do not. */
export function deadlineOf(waitMs: number): number {
  return defaultDeadlineMs + Math.min(Math.max(waitMs || 0, 0), maxWaitMs);
}

export type ContextName = "job" | "provider" | "execution" | "orchestrator";

export function connectUpstreams(config: Config): Upstreams {
  const contexts = {
    job: connectRaw(config.CAPSTAN_JOB_ADDRESS, "job"),
    provider: connectRaw(config.CAPSTAN_PROVIDER_ADDRESS, "provider"),
    execution: connectRaw(config.CAPSTAN_EXECUTION_ADDRESS, "execution"),
    orchestrator: connectRaw(config.CAPSTAN_ORCHESTRATOR_ADDRESS, "orchestrator"),
  };
  // In standalone all are at one address, which answers for all at once.
  const addresses = new Map<string, RawClient>([
    [config.CAPSTAN_JOB_ADDRESS, contexts.job],
    [config.CAPSTAN_PROVIDER_ADDRESS, contexts.provider],
    [config.CAPSTAN_EXECUTION_ADDRESS, contexts.execution],
    [config.CAPSTAN_ORCHESTRATOR_ADDRESS, contexts.orchestrator],
  ]);
  const own = new Map<string, ServiceRegistration>();

  async function askAll(path: string, request: Uint8Array, options: AskOptions): Promise<Uint8Array> {
    const clients = [...addresses.values()];
    const answers = await Promise.allSettled(clients.map((client) => askOne(client, path, request, options)));
    const given = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    const [first] = answers;
    if (given.length === 0 && first?.status === "rejected") throw first.reason;
    // Messages one after the other are one message, whose lists have the entries of all.
    return Buffer.concat(given);
  }

  return {
    contexts,
    async ask({ path, context }, request, options) {
      if (context === "system") return askAll(path, request, options);
      const client = contexts[context as ContextName];
      if (client !== undefined) return askOne(client, path, request, options);
      return askOwn(own, path, request, options);
    },
    follow(rpc, request, options) {
      const client = contexts[rpc.context as ContextName];
      if (client === undefined) throw new Error(`nobody streams ${rpc.path}`);
      return follow(client, rpc.path, request, options);
    },
    addOwn(service) {
      for (const method of Object.values(service.definition)) own.set(method.path, service);
    },
    close() {
      for (const client of Object.values(contexts)) client.close();
    },
  };
}

function askOne(client: RawClient, path: string, request: Uint8Array, options: AskOptions): Promise<Uint8Array> {
  const { metadata, deadlineMs, signal } = options;
  return new Promise((resolve, reject) => {
    const cancel = () => call.cancel();
    const bytes = Buffer.from(request.buffer, request.byteOffset, request.byteLength);
    const call = client.unary(path, bytes, metadataOf(metadata), Date.now() + deadlineMs, (error, answer) => {
      signal.removeEventListener("abort", cancel);
      if (error === null) resolve(answer ?? Buffer.alloc(0));
      else reject(client.refusalOf(error));
    });
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
  });
}

async function* follow(
  client: RawClient,
  path: string,
  request: Uint8Array,
  { metadata, deadlineMs, signal }: AskOptions,
): AsyncGenerator<Uint8Array> {
  const stream = client.stream(path, Buffer.from(request), metadataOf(metadata), Date.now() + deadlineMs);
  let failure: ServiceError | undefined;
  // It may fail before anybody reads, and after a reader has stopped; without a listener that would end the process.
  stream.on("error", (error: ServiceError) => {
    failure = error;
  });
  const cancel = () => stream.cancel();
  if (signal.aborted) cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    yield* stream as AsyncIterable<Buffer>;
  } catch (error) {
    if (failure === undefined) throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
  if (failure !== undefined) throw client.refusalOf(failure);
}

/** Calls a handler of this process as a gRPC server would. */
async function askOwn(
  own: ReadonlyMap<string, ServiceRegistration>,
  path: string,
  request: Uint8Array,
  { metadata, deadlineMs, signal }: AskOptions,
): Promise<Uint8Array> {
  const service = own.get(path);
  const entry = Object.entries(service?.definition ?? {}).find(([, method]) => method.path === path);
  if (service === undefined || entry === undefined) throw new Error(`nobody answers ${path}`);
  const [name, { requestDeserialize, responseSerialize }] = entry;
  const deadline = new Date(Date.now() + deadlineMs);
  const call = {
    request: requestDeserialize(Buffer.from(request)),
    metadata: metadataOf(metadata),
    cancelled: signal.aborted,
    getDeadline: () => deadline,
    once: (event: string, listener: () => void) => {
      if (event === "cancelled") signal.addEventListener("abort", listener, { once: true });
    },
    emit: () => false,
  };
  const handler = service.implementation[name] as unknown as (
    call: object,
    reply: (error: ServiceError | null, answer?: unknown) => void,
  ) => void;
  return new Promise((resolve, reject) => {
    handler(call, (error, answer) => {
      if (error === null) resolve(responseSerialize(answer));
      else reject("cause" in error && error.cause !== undefined ? error.cause : fromServiceError(error));
    });
  });
}

function metadataOf(entries: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, text] of Object.entries(entries)) metadata.set(name, text);
  return metadata;
}
