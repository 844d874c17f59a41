/** Who has what, while connections break and come back. */
import type { ConnectResponse } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import type { Workload } from "./backends/backend.ts";
import { openLink, type WorkerLink } from "./workerLink.ts";
import { type ConnectedWorker, createWorkers } from "./workers.ts";

const leaseMs = 60_000;
const wanted = { tenant: "default", pool: "media", name: "resize", constraints: [] };
const sink = { write: () => {} };
const going = new AbortController().signal;

function connection(): { readonly link: WorkerLink; readonly said: ConnectResponse[] } {
  const said: ConnectResponse[] = [];
  const stream = { send: (message: ConnectResponse) => said.push(message) > 0, hasRoom: async () => {} };
  return { link: openLink(stream, () => {}), said };
}

function newWorker(id: string, link: WorkerLink, credit: number): ConnectedWorker {
  const registration = { id, tenant: "default", pool: "media", slots: 1, labels: {}, sdk: "", host: "" };
  return {
    registration: { ...registration, handlers: new Set(["resize"]) },
    executions: new Map(),
    link,
    credit,
    isOpen: false,
    heardMs: performance.now(),
    isDraining: false,
  };
}

function workloadOf(executionId: string): Workload {
  const handler = { ...wanted, input: null, step: "main", traceparent: null };
  return { executionId, jobId: executionId, attempt: 1, tenant: "default", fence: 1, handler } as unknown as Workload;
}

function open(slots = 1) {
  const workers = createWorkers(leaseMs);
  const { link, said } = connection();
  const worker = newWorker("w", link, slots);
  workers.add(worker);
  workers.refresh(worker);
  return { workers, worker, said };
}

/** It connects anew and gives this credit on the new connection. */
function reconnect({ workers, worker }: Pick<ReturnType<typeof open>, "workers" | "worker">, credit: number) {
  const { link, said } = connection();
  Object.assign(worker, { link, credit });
  workers.refresh(worker);
  return said;
}

test("what was promised on a connection that has ended is no credit of the next", async () => {
  const world = open();
  expect(world.workers.tryPromise("a", wanted)).toBe(true);
  reconnect(world, 1);
  world.workers.breakPromise("a");
  expect(world.worker.credit).toBe(1);
});

test("what was promised on a connection that has ended uses up credit of the next", async () => {
  const world = open();
  expect(world.workers.tryPromise("a", wanted)).toBe(true);
  const said = reconnect(world, 1);
  const running = world.workers.start(workloadOf("a"), wanted, sink, going);
  running.catch(() => {});
  await eventually(() => expect(said.flatMap(({ assigned }) => assigned)).toHaveLength(1));
  expect(world.worker.credit).toBe(0);
});

test("an execution that a worker says twice that it has is followed once, and its end is seen", async () => {
  const { workers, worker } = open();
  workers.hold(worker, "a");
  const running = await workers.adopt("a", sink);
  workers.hold(worker, "a");
  worker.executions.get("a")?.finish({ outcome: "SUCCEEDED", result: null, message: "", endTime: new Date() }, null);
  await expect(running?.exited).resolves.toMatchObject({ outcome: "SUCCEEDED" });
});

test("who waits for a worker to come back is told when all is forgotten, and does not disturb who waits next", async () => {
  const { workers, worker } = open();
  const before = workers.adopt("a", sink);
  workers.clear();
  await expect(before).resolves.toBeNull();
  const after = workers.adopt("a", sink);
  workers.hold(worker, "a");
  expect(await after).not.toBeNull();
});

test("one that was never said to have begun is stopped like any other", async () => {
  const { workers, said } = open();
  const stopping = new AbortController();
  const starting = workers.start(workloadOf("a"), wanted, sink, stopping.signal);
  stopping.abort();
  const running = await starting;
  void running.stop(1_000);
  await eventually(() => expect(said.flatMap(({ cancelled }) => cancelled)).toMatchObject([{ executionId: "a" }]));
});

test("what ended for everybody else is to be dropped by its worker, and what it ended itself is acknowledged", async () => {
  const { workers, worker, said } = open();
  workers.hold(worker, "a");
  workers.hold(worker, "b");
  Object.assign(worker.executions.get("b") ?? {}, { hasSaidEnd: true });
  workers.forget("a");
  workers.forget("b");
  await eventually(() => expect(said.flatMap(({ acknowledged }) => acknowledged)).toEqual(["b"]));
  expect(said.flatMap(({ cancelled }) => cancelled)).toMatchObject([{ executionId: "a", reason: "REASON_LOST" }]);
});
