/**
 * A worker: runs handlers for a pool over one connection at a time, which it opens again for ever.
 *
 *     connecting ⇄ connected → draining → stopped
 *
 * What it has is its own over a broken connection, until it has heard nothing from a runner for two thirds of its lease: then it
 * stops, because at three thirds the platform gives the executions to others.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { DomainError } from "@capstan/errors";
import { connectTo, type PromiseClient } from "@capstan/grpc/client";
import {
  type ConnectResponse,
  type HeldByWorker,
  type Register,
  type Registered,
  WorkerServiceClient,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { backoffMs, pause } from "./backoff.ts";
import { type Drain, openDrain } from "./drain.ts";
import { type Executions, msOf, runExecutions } from "./executions.ts";
import { cancelled } from "./failures.ts";
import type { Handlers } from "./handlers.ts";
import { watchLease } from "./leaseWatch.ts";
import { sdkVersion } from "./version.ts";
import { type Link, openLink } from "./workerLink.ts";
import { type Outbox, openOutbox } from "./workerOutbox.ts";

export type WorkerState = "connecting" | "connected" | "draining" | "stopped";

export interface WorkerOptions<H extends Handlers = Handlers> {
  /** The pool it joins; the first worker makes it. */
  readonly pool: string;
  /** How many handlers run at once: 1 to 10,000. */
  readonly slots: number;
  readonly handlers: Partial<H>;
  /** What placement constraints are compared with. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Ends the attempt to connect for the first time; later it has no effect, see `stop`. */
  readonly signal?: AbortSignal;
}

export interface StopOptions {
  /** How long handlers may go on; then their signals abort. As long as they want unless said. */
  readonly graceMs?: number;
}

/** Told of each change; `cause` is why a connection ended or could not be made, null otherwise. */
export type StateListener = (state: WorkerState, cause: DomainError | null) => void;

export interface Worker {
  readonly id: string;
  readonly pool: string;
  readonly state: WorkerState;
  /** Handlers that run now. */
  readonly active: number;
  /** Gives back how to stop listening. */
  onState(listener: StateListener): () => void;
  /** Takes nothing more, waits for what runs and until the platform has its results, and ends. Further calls wait for the same. */
  stop(options?: StopOptions): Promise<void>;
}

interface WorkerDeps {
  /** `host:port` of each runner; it takes one of them, and another when that fails. */
  readonly addresses: readonly string[];
  /** The connection was closed: the worker ends without waiting for anything. */
  readonly closed: AbortSignal;
}

/** Refusals that trying again cannot cure. */
const finalCodes: readonly string[] = ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED"];
/** What `Register.held` may name. */
const maxHeld = 10_000;
const goodbyeMs = 1_000;

/** Resolves once a runner has accepted it. Rejects with a refusal that is final; where nobody answers it tries for ever. */
export function startWorker<H extends Handlers>(options: WorkerOptions<H>, deps: WorkerDeps): Promise<Worker> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(cancelled());
    const worker = openWorker(options, deps, {
      onAccepted() {
        signal?.removeEventListener("abort", abort);
        resolve(worker);
      },
      onRefused(refusal) {
        signal?.removeEventListener("abort", abort);
        reject(refusal);
      },
    });
    const abort = () => {
      worker.end();
      reject(cancelled());
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}

interface Beginning {
  onAccepted(): void;
  onRefused(refusal: DomainError): void;
}

function openWorker<H extends Handlers>(
  options: WorkerOptions<H>,
  { addresses, closed }: WorkerDeps,
  beginning: Beginning,
): Worker & { end(): void } {
  const id = randomUUID();
  const { pool, slots, labels = {} } = options;
  const handlers = Object.fromEntries(
    Object.entries(options.handlers as Handlers).filter(([, handler]) => handler !== undefined),
  );
  const clients = addresses.map((address) => connectTo(WorkerServiceClient, address));
  const listeners = new Set<StateListener>();
  const ending = new AbortController();
  const outbox: Outbox = openOutbox(takeCredit);
  const executions: Executions = runExecutions(handlers, outbox, afterEnd);
  const lease = watchLease(cutOff);
  let turn = Math.floor(Math.random() * clients.length);
  let state: WorkerState = "connecting";
  let wasAccepted = false;
  let link: Link | null = null;
  /** Credit that was given on this connection and is not used up. */
  let credit = 0;
  let draining: Drain | null = null;

  function setState(next: WorkerState, cause: DomainError | null = null): void {
    if (state === next || state === "stopped") return;
    state = next;
    for (const listener of listeners) listener(next, cause);
  }

  /** As much as there are free slots, and no more than it could name when it comes back. */
  function takeCredit(): number {
    if (draining !== null) return 0;
    const held = executions.running.size + outbox.unacknowledged.size;
    const more = Math.min(slots - executions.active, maxHeld - held) - credit;
    if (more <= 0) return 0;
    credit += more;
    return more;
  }

  function afterEnd(): void {
    outbox.wake();
    draining?.check();
  }

  /** What runs, and what has ended and is not acknowledged. */
  function holding(): readonly HeldByWorker[] {
    return [...executions.running.values(), ...outbox.unacknowledged.values()];
  }

  function register(): Register {
    const held = holding().map(({ executionId, fence }) => ({ executionId, fence }));
    const host = `${hostname()}/${process.pid}`.slice(0, 128);
    const sdk = `capstan-node/${sdkVersion}`;
    return { workerId: id, pool, handlers: Object.keys(handlers), slots, labels: { ...labels }, sdk, host, held };
  }

  function onRegistered(opened: Link, registered: Registered): void {
    lease.begin(msOf(registered.lease) || Number.POSITIVE_INFINITY);
    if (registered.maxPayloadBytes > 0) executions.maxPayloadBytes = registered.maxPayloadBytes;
    wasAccepted = true;
    if (draining !== null) opened.drain();
    else setState("connected");
    beginning.onAccepted();
  }

  function onWord(message: ConnectResponse): void {
    lease.heard();
    for (const held of message.held) {
      executions.refence(held);
      outbox.refence(held);
    }
    for (const executionId of message.acknowledged) outbox.forget(executionId);
    credit = Math.max(0, credit - message.assigned.length);
    for (const each of message.assigned) executions.assign(each);
    // After what is assigned: one message may bring both.
    for (const each of message.cancelled) executions.cancel(each);
    // The runner goes away; what runs is named to the next one.
    if (message.isDraining) link?.cut();
    if (message.acknowledged.length > 0 || message.cancelled.length > 0) afterEnd();
  }

  function cutOff(): void {
    const message = "the worker has heard nothing from the platform for two thirds of its lease";
    executions.stopAll("CUT_OFF", message);
    executions.loseAll(message);
    link?.cut();
  }

  /** Resolves when the connection has ended. */
  async function connectOnce(client: PromiseClient<WorkerServiceClient>): Promise<DomainError | null> {
    credit = 0;
    let isOpen = false;
    const opened: Link = openLink(client, register(), takeCredit(), {
      onRegistered(registered) {
        isOpen = true;
        onRegistered(opened, registered);
      },
      onWord(message) {
        onWord(message);
        // Only after its first word, which may bring new fences.
        if (message.registered !== undefined) outbox.attach(opened.send, executions.started());
      },
      onRoom: () => outbox.onRoom(),
      holding: () => holding().map(({ executionId }) => executionId),
    });
    link = opened;
    const failure = await opened.ended;
    link = null;
    outbox.detach();
    return isOpen ? (failure ?? ended) : (failure ?? notAccepted);
  }

  async function keepConnected(): Promise<void> {
    for (let failures = 0; !ending.signal.aborted; ) {
      const client = clients[turn % clients.length] as PromiseClient<WorkerServiceClient>;
      const heardBeforeMs = lease.heardMs;
      const failure = await connectOnce(client);
      if (ending.signal.aborted) break;
      if (!wasAccepted && failure !== null && finalCodes.includes(failure.code)) {
        beginning.onRefused(failure);
        return end();
      }
      if (draining === null) setState("connecting", failure);
      turn += 1;
      failures = lease.heardMs > heardBeforeMs ? 1 : failures + 1;
      await pause(backoffMs(failures), ending.signal).catch(() => {});
    }
  }

  function end(): void {
    if (ending.signal.aborted) return;
    ending.abort();
    lease.end();
    closed.removeEventListener("abort", end);
    executions.stopAll("WORKER_STOPPED", "the worker has ended");
    link?.cut();
    setState("stopped");
    for (const client of clients) client.close();
    draining?.giveUp();
  }

  async function drain({ graceMs }: StopOptions): Promise<void> {
    if (ending.signal.aborted) return;
    draining = openDrain(executions, outbox, graceMs);
    setState("draining");
    link?.drain();
    await draining.done;
    await sayGoodbye();
    end();
  }

  async function sayGoodbye(): Promise<void> {
    if (link === null) return;
    const opened = link;
    const timer = setTimeout(() => opened.cut(), goodbyeMs);
    opened.end();
    await opened.ended;
    clearTimeout(timer);
  }

  let stopping: Promise<void> | undefined;
  closed.addEventListener("abort", end, { once: true });
  void keepConnected();
  return {
    id,
    pool,
    get state() {
      return state;
    },
    get active() {
      return executions.active;
    },
    onState(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    stop(stopOptions = {}) {
      stopping ??= drain(stopOptions);
      return stopping;
    },
    end,
  };
}

const notAccepted = new DomainError({
  code: "UNAVAILABLE",
  reason: "NOT_ACCEPTED",
  message: "the runner has ended the connection before it accepted the worker",
});

const ended = new DomainError({
  code: "UNAVAILABLE",
  reason: "CONNECTION_ENDED",
  message: "the runner has ended the connection",
});
