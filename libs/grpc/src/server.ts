/**
 * A gRPC server: the services observed, the standard health service, reflection when asked. It stops in two steps: calls get time to
 * end, streams are told to end at once, and what is left after the grace is cut off.
 */
import { DomainError } from "@capstan/errors";
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { type ServerCall, stoppingEvent } from "./call.ts";
import { createHealthService } from "./health.ts";
import type { Log } from "./log.ts";
import { observe } from "./observe.ts";
import { addReflectionService } from "./reflection.ts";
import { namesOf, type ServiceRegistration } from "./registration.ts";

export interface ServeOptions {
  /** host:port; port 0 takes any free one. */
  readonly address: string;
  readonly services: readonly ServiceRegistration[];
  /** Whether this process can do its work now; asked by the standard health service. */
  readonly health: () => Promise<boolean> | boolean;
  /** Lets tools list services and messages; for development. Default false. */
  readonly reflection?: boolean;
  /** How long calls under way may take to end when the server stops; default 10,000. */
  readonly drainMs?: number;
  readonly log: Log;
}

export interface GrpcServer {
  /** The one it listens on, also when 0 was asked for. */
  readonly port: number;
  /** Takes no new calls, lets those under way end for `drainMs`, then cuts them off. */
  stop(): Promise<void>;
}

const defaultDrainMs = 10_000;

// What grpc-js prints to stderr by itself reaches the caller as an error too.
if (process.env["GRPC_VERBOSITY"] === undefined) setLogVerbosity(logVerbosity.NONE);

const settings = {
  // The limits page names these two; a larger request is refused with RESOURCE_EXHAUSTED before it is decoded.
  "grpc.max_receive_message_length": 4 * 1024 * 1024,
  "grpc.max_concurrent_streams": 1_000,
  // A peer that vanished without a word is noticed within 30 s, and its calls with it.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // Connections are renewed now and then, so that new replicas get their share; calls under way are not touched.
  "grpc.max_connection_age_ms": 10 * 60_000,
  "grpc.enable_channelz": 0,
};

/** Listens and serves; refuses with ADDRESS_IN_USE when another process listens there. */
export async function serve(options: ServeOptions): Promise<GrpcServer> {
  const { address, services, log, drainMs = defaultDrainMs } = options;
  const server = new Server(settings);
  const openStreams = new Set<ServerCall>();
  let isStopping = false;
  const names = services.flatMap(({ definition }) => serviceName(definition));
  const health = await createHealthService(names, () => !isStopping && options.health());
  for (const service of [...services, health]) {
    const { definition, implementation } = observe(service, log, openStreams);
    server.addService(definition, implementation);
  }
  if (options.reflection === true) await addReflectionService(server, names);
  const port = await bind(server, address);

  async function stop(): Promise<void> {
    isStopping = true;
    for (const call of openStreams) call.emit(stoppingEvent);
    const late = setTimeout(
      () => log.warn({ address, drainMs }, "calls are cut off, they did not end in time"),
      drainMs,
    );
    // Not forceShutdown(): without channelz it forgets the connections and leaves them open.
    server.drain(`${address.slice(0, address.lastIndexOf(":"))}:${port}`, drainMs);
    await new Promise((resolve) => server.tryShutdown(resolve));
    clearTimeout(late);
  }

  let stopped: Promise<void> | undefined;
  return { port, stop: () => (stopped ??= stop()) };
}

function serviceName(definition: ServiceRegistration["definition"]): string[] {
  const [method] = Object.values(definition);
  return method === undefined ? [] : [namesOf(method.path).service];
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error.message.includes("EADDRINUSE") ? addressInUse(address) : error);
    });
  });
}

/** The refusal of a listener whose address another process has. */
export function addressInUse(address: string): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "ADDRESS_IN_USE",
    message: `another process already listens on ${address}`,
    metadata: { address },
  });
}
