/** A worker as the protocol sees it, for the specs beside this file: says what a test tells it to, and keeps what it is told. */
import { randomUUID } from "node:crypto";
import {
  ConnectRequest,
  type ConnectResponse,
  type ExecutionAssigned,
  ExecutionFinished,
  type HeldByWorker,
  Register,
  WorkerServiceClient,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { type ClientDuplexStream, credentials, type ServiceError } from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";

export interface FakeWorker {
  readonly id: string;
  readonly assigned: readonly ExecutionAssigned[];
  readonly cancelled: readonly string[];
  /** Why, in the same order. */
  readonly reasons: readonly { readonly reason: string; readonly message: string }[];
  readonly acknowledged: readonly string[];
  readonly held: readonly HeldByWorker[];
  /** It was told to connect again. */
  readonly isTurnedAway: boolean;
  /** Words that were heard, heartbeats' answers included. */
  readonly heard: number;
  /** What its connection ended with; null while it stands. */
  readonly ended: { readonly code: number; readonly message: string } | null;
  say(message: Partial<ConnectRequest>): void;
  finish(executionId: string, more?: Partial<ExecutionFinished>): void;
  /** Says goodbye. */
  end(): void;
  /** Breaks the connection. */
  cut(): void;
}

/** Far less than the lease of the tests, which a busy machine may need to say anything else. */
const heartbeatMs = 300;

/**
 * Connects and registers; answers when it was accepted or refused. It grants as much credit as it has slots, and says that it lives
 * until it is cut or has ended, as every worker does.
 */
export async function connectFakeWorker(address: string, register: Partial<Register> = {}): Promise<FakeWorker> {
  const client = new WorkerServiceClient(address, credentials.createInsecure());
  const id = register.workerId ?? randomUUID();
  const assigned: ExecutionAssigned[] = [];
  const cancelled: string[] = [];
  const reasons: { readonly reason: string; readonly message: string }[] = [];
  const acknowledged: string[] = [];
  const held: HeldByWorker[] = [];
  let heard = 0;
  let isRegistered = false;
  let isTurnedAway = false;
  let ended: FakeWorker["ended"] = null;
  const stream: ClientDuplexStream<ConnectRequest, ConnectResponse> = client.connect();
  stream.on("data", (message: ConnectResponse) => {
    heard += 1;
    isRegistered ||= message.registered !== undefined;
    isTurnedAway ||= message.isDraining;
    assigned.push(...message.assigned);
    cancelled.push(...message.cancelled.map(({ executionId }) => executionId));
    reasons.push(...message.cancelled.map(({ reason, message: why }) => ({ reason, message: why })));
    acknowledged.push(...message.acknowledged);
    held.push(...message.held);
  });
  stream.on("error", ({ code, details }: ServiceError) => {
    ended = { code, message: details };
  });
  stream.on("end", () => {
    ended ??= { code: 0, message: "" };
  });
  const heartbeats = setInterval(() => say({}), heartbeatMs);
  stream.on("close", () => clearInterval(heartbeats));
  onTestFinished(() => {
    clearInterval(heartbeats);
    stream.cancel();
    client.close();
  });
  const say = (message: Partial<ConnectRequest>) =>
    void stream.write({ ...ConnectRequest.fromPartial({}), ...message });
  const slots = register.slots ?? 2;
  const me = { workerId: id, pool: "media", handlers: ["resize"], slots, sdk: "fake/1", host: "here", ...register };
  say({ register: Register.fromPartial(me), credit: slots - (register.held?.length ?? 0) });
  await eventually(() => isRegistered || ended !== null);
  return {
    id,
    assigned,
    cancelled,
    reasons,
    acknowledged,
    held,
    get isTurnedAway() {
      return isTurnedAway;
    },
    get heard() {
      return heard;
    },
    get ended() {
      return ended;
    },
    say,
    finish(executionId, more = {}) {
      const outcome = "WORKER_OUTCOME_SUCCEEDED";
      const times = { startTime: new Date(), endTime: new Date() };
      const finished = { ...ExecutionFinished.fromPartial({ executionId, fence: 1, outcome }), ...times, ...more };
      say({ finished: [finished], credit: 1 });
    },
    end() {
      clearInterval(heartbeats);
      say({ isDraining: true });
      stream.end();
    },
    cut() {
      clearInterval(heartbeats);
      stream.cancel();
    },
  };
}
