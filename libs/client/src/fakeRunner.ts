/** A runner as the protocol sees it, for the specs beside this file: does what a test tells it to, and keeps what it is told. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import {
  type ConnectRequest,
  ConnectResponse,
  type ExecutionAssigned,
  type ExecutionFinished,
  type Register,
  WorkerServiceService,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { Server, ServerCredentials, type ServerDuplexStream, type status } from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";

export interface Connection {
  readonly register: Register;
  /** All it said, heartbeats left out. */
  readonly messages: readonly ConnectRequest[];
  readonly credit: number;
  readonly finished: readonly ExecutionFinished[];
  readonly started: readonly string[];
  readonly isDraining: boolean;
  /** The worker has said goodbye or is gone. */
  readonly hasEnded: boolean;
  say(message: Partial<ConnectResponse>): void;
  /** Assigns an execution of this handler, and gives back its id. */
  assign(handler: string, more?: Partial<ExecutionAssigned>): string;
  /** Breaks all connections. */
  cut(): void;
}

export interface FakeRunner {
  readonly address: string;
  readonly connections: readonly Connection[];
  /** The connection of this number, from 0, once it is accepted. */
  connection(index: number): Promise<Connection>;
}

interface FakeRunnerOptions {
  readonly leaseMs?: number;
  /** Refuses the first so many connections with this code. */
  readonly refuse?: { readonly times: number; readonly code: status };
  /** What is said with the acceptance. */
  readonly withAcceptance?: (register: Register) => Partial<ConnectResponse>;
  /** Answers no heartbeat. */
  readonly isSilent?: boolean;
}

type Stream = ServerDuplexStream<ConnectRequest, ConnectResponse>;

/** Listens on a free port until the test ends. */
export async function startFakeRunner(options: FakeRunnerOptions = {}): Promise<FakeRunner> {
  const connections: Connection[] = [];
  let refusals = options.refuse?.times ?? 0;
  const server = new Server();
  const connect = (stream: Stream) => {
    stream.on("error", () => {});
    if (refusals > 0) {
      refusals -= 1;
      stream.emit("error", { code: options.refuse?.code, details: "not now" });
      return;
    }
    stream.once("data", (first: ConnectRequest) => connections.push(accept(stream, first, options, () => proxy.cut())));
  };
  server.addService(WorkerServiceService, { connect, listWorkers: () => {} });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  onTestFinished(() => server.forceShutdown());
  const proxy = await startProxy(port);
  return {
    address: `127.0.0.1:${proxy.port}`,
    connections,
    connection: (index) =>
      eventually(() => {
        const [connection] = connections.slice(index);
        if (connection === undefined) throw new Error(`there is no connection ${index}`);
        return connection;
      }),
  };
}

/** Passes everything on, until its connections are broken as a network breaks them. */
async function startProxy(to: number): Promise<{ readonly port: number; cut(): void }> {
  const sockets = new Set<Socket>();
  const proxy = createServer((socket) => {
    const onward = createConnection(to, "127.0.0.1");
    for (const [from, into] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => into.destroy());
      from.pipe(into);
    }
  });
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => {
    proxy.close();
    cut();
  });
  return { port: (proxy.address() as AddressInfo).port, cut };
}

function accept(stream: Stream, first: ConnectRequest, options: FakeRunnerOptions, cut: () => void): Connection {
  const { leaseMs = 60_000, isSilent = false, withAcceptance = () => ({}) } = options;
  const register = first.register as Register;
  const messages: ConnectRequest[] = [first];
  let hasEnded = false;
  const say: Connection["say"] = (message) => void stream.write({ ...ConnectResponse.fromPartial({}), ...message });
  stream.on("data", (message: ConnectRequest) => {
    const { credit, started, finished, logs, progress, isDraining, holding } = message;
    const items = started.length + finished.length + logs.length + progress.length;
    const isHeartbeat = credit + items === 0 && !isDraining && holding === undefined;
    if (!isHeartbeat) messages.push(message);
    else if (!isSilent) say({});
  });
  stream.on("end", () => {
    hasEnded = true;
    stream.end();
  });
  stream.on("cancelled", () => {
    hasEnded = true;
  });
  const durationOf = (ms: number) => ({ seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1e6 });
  const [lease, heartbeat] = [durationOf(leaseMs), durationOf(leaseMs / 6)];
  say({
    registered: { lease, heartbeat, maxPayloadBytes: 262_144, maxMessageBytes: 4_194_304 },
    ...withAcceptance(register),
  });
  return {
    register,
    messages,
    get credit() {
      return messages.reduce((sum, { credit }) => sum + credit, 0);
    },
    get finished() {
      return messages.flatMap(({ finished }) => finished);
    },
    get started() {
      return messages.flatMap(({ started }) => started.map(({ executionId }) => executionId));
    },
    get isDraining() {
      return messages.some(({ isDraining }) => isDraining);
    },
    get hasEnded() {
      return hasEnded;
    },
    say,
    assign(handler, more = {}) {
      const assigned = newAssignment(handler, more);
      say({ assigned: [assigned] });
      return assigned.executionId;
    },
    cut,
  };
}

export function newAssignment(handler: string, more: Partial<ExecutionAssigned> = {}): ExecutionAssigned {
  const ids = { executionId: randomUUID(), jobId: randomUUID(), step: "main" };
  const rest = { fence: 1, attempt: 1, handler, input: undefined, traceparent: "" };
  return { ...ids, ...rest, ...more };
}
