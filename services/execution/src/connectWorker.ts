/**
 * The life of one worker's connection: registered, heard, and at its end either gone for good or waited for. A worker that comes
 * back brings what it has: this runner takes it over from whoever held it.
 */
import { DomainError } from "@capstan/errors";
import type { BidiStream, Call } from "@capstan/grpc";
import type { Pool } from "@capstan/postgres";
import type {
  ConnectRequest,
  ConnectResponse,
  HeldByWorker,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { type HearDeps, hearWorker } from "./hearWorker.ts";
import type { PoolReports } from "./reportPools.ts";
import type { Runner } from "./runner.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { findHeldByWorker, takeOverFromWorker } from "./takeOverStore.ts";
import { maxPayloadBytes, type Registration, readRegister } from "./worker.ts";
import { openLink, type WorkerLink } from "./workerLink.ts";
import type { WorkerRecords } from "./workerRecords.ts";
import { type ConnectedWorker, overOf, toDuration, type Workers } from "./workers.ts";

export interface ConnectDeps extends HearDeps {
  readonly pool: Pool;
  readonly lease: RunnerLease;
  readonly workers: Workers;
  /** The last connection of each worker: what the one before leaves behind must not undo what is done for this one. */
  readonly connections: Map<string, WorkerLink>;
  readonly records: WorkerRecords;
  readonly reports: PoolReports;
  readonly runner: Pick<Runner, "takeOver">;
}

/** A worker is heard of this often at least, so that one lost message is not yet a silence. */
const heartbeatsPerLease = 6;
const maxMessageBytes = 4 * 1024 * 1024;

/** Resolves when the worker has said all; throws what its connection ends with. */
export async function connectWorker(
  stream: BidiStream<ConnectRequest, ConnectResponse>,
  call: Call,
  deps: ConnectDeps,
): Promise<void> {
  const messages = stream.requests[Symbol.asyncIterator]();
  const first = await messages.next();
  if (first.done === true) return;
  const registration = readRegister(first.value.register, call.tenant);
  let worker: ConnectedWorker | null = null;
  const link = openLink(stream, (hasRoom) => worker !== null && deps.workers.refresh(worker, hasRoom));
  // The call is answered with its refusal when it is cut off, but this goes on until the next message: so it is told here. What
  // cannot be written lapses.
  const cutOff = () => void leave(registration, link, deps).catch(() => {});
  call.signal.throwIfAborted();
  call.signal.addEventListener("abort", cutOff, { once: true });
  try {
    worker = await register(registration, link, deps);
    await resume(worker, link, first.value.register?.held ?? [], deps);
    await hearWorker(worker, first.value, deps);
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      if (worker.link !== link) throw connectedAnew();
      await hearWorker(worker, next.value, deps);
    }
  } finally {
    call.signal.removeEventListener("abort", cutOff);
    await leave(registration, link, deps);
  }
}

async function register(registration: Registration, link: WorkerLink, deps: ConnectDeps): Promise<ConnectedWorker> {
  const { lease, workers, connections, records, reports } = deps;
  if (!lease.isHeld) throw notReady();
  const { tenant, pool, id } = registration;
  const runnerId = lease.id;
  const before = workers.get(id);
  const { tenant: itsTenant, pool: itsPool } = before?.registration ?? registration;
  // Of another pool it is refused, and nothing befalls the one that has this id.
  if (itsTenant === tenant && itsPool === pool) {
    if (before !== undefined) workers.silence(before);
    connections.set(id, link);
  }
  await records.add(registration);
  const refusal = await reports.reportNow({ tenant, name: pool });
  if (refusal !== null) {
    await records.remove(registration);
    throw new DomainError({ code: "FAILED_PRECONDITION", reason: "POOL_NAME_TAKEN", message: refusal });
  }
  if (connections.get(id) !== link) throw connectedAnew();
  // Another runner's by now, though in this process: it was registered with the one before.
  if (lease.id !== runnerId || !lease.isHeld) throw notReady();
  const worker = workers.get(id) ?? newWorker(registration);
  Object.assign(worker, { registration, link, credit: 0, isDraining: false, heardMs: performance.now() });
  if (workers.get(id) === undefined) workers.add(worker);
  workers.refresh(worker);
  return worker;
}

function newWorker(registration: Registration): ConnectedWorker {
  return {
    registration,
    executions: new Map(),
    link: null,
    credit: 0,
    isOpen: false,
    heardMs: performance.now(),
    isDraining: false,
  };
}

/** Accepts the worker and settles what it has: what is live goes on here, what is over it may forget. */
async function resume(
  worker: ConnectedWorker,
  link: WorkerLink,
  held: readonly HeldByWorker[],
  deps: ConnectDeps,
): Promise<void> {
  const { pool, lease, workers, runner, leaseMs } = deps;
  const { id: workerId, tenant, pool: poolName } = worker.registration;
  const known = new Set(held.map(({ executionId }) => executionId));
  const ids = [...known];
  for (const execution of [...worker.executions.values()]) if (!known.has(execution.id)) execution.miss();
  const heldBy = { workerId, tenant, pool: poolName, ids };
  // Also what this runner knows that it has: another runner may have had it meanwhile.
  const taken = ids.length === 0 ? [] : await takeOverFromWorker(pool, lease.id, heldBy);
  const live = ids.length === 0 ? new Set<string>() : await findHeldByWorker(pool, lease.id, heldBy);
  if (worker.link === link) {
    link.say({
      registered: {
        lease: toDuration(leaseMs),
        heartbeat: toDuration(leaseMs / heartbeatsPerLease),
        maxPayloadBytes,
        maxMessageBytes,
      },
      held: taken.map(({ execution }) => ({ executionId: execution.id, fence: execution.fence })),
    });
    for (const id of ids) settle(worker, link, id, live.has(id), workers);
  }
  // Only now, because it is looked for among what its worker holds; and in any case, because it is this runner's.
  runner.takeOver(taken);
}

function settle(worker: ConnectedWorker, link: WorkerLink, id: string, isLive: boolean, workers: Workers): void {
  const isItsOwn = isLive && workers.hold(worker, id);
  if (isItsOwn) worker.executions.get(id)?.askAgain();
  else if (worker.executions.has(id)) workers.forget(id);
  else link.cancel(overOf(id));
}

/** What it has stays its own until its lease is over, unless it has nothing and had said that it takes no more. */
async function leave(
  registration: Registration,
  link: WorkerLink,
  { workers, connections, records }: ConnectDeps,
): Promise<void> {
  const { id } = registration;
  if (connections.get(id) !== link) return;
  connections.delete(id);
  const worker = workers.get(id);
  if (worker !== undefined) workers.silence(worker);
  if (worker?.isDraining === true && worker.executions.size === 0) {
    workers.remove(worker, "");
    await records.remove(registration);
  } else {
    await records.suspend(registration, "silent");
  }
}

function notReady(): DomainError {
  return new DomainError({
    code: "UNAVAILABLE",
    reason: "RUNNER_NOT_READY",
    message: "this runner takes no workers at the moment",
    retryAfterMs: 1_000,
  });
}

function connectedAnew(): DomainError {
  return new DomainError({
    code: "ABORTED",
    reason: "CONNECTED_ANEW",
    message: "the worker has another connection by now",
  });
}
