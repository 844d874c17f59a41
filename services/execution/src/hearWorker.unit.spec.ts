/** What is heard while its worker connects anew, and what it says that it has. */
import { ConnectRequest, type ExecutionCancelled } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { expect, test } from "vitest";
import { BackendLost, BackendUnavailable } from "./backends/backend.ts";
import { hearWorker } from "./hearWorker.ts";
import { followExecution, type WorkerExecution } from "./workerExecution.ts";
import { openLink } from "./workerLink.ts";
import { type ConnectedWorker, createWorkers } from "./workers.ts";

const newLink = () => openLink({ send: () => true, hasRoom: async () => {} }, () => {});
const deps = { onProgress: () => {}, onDraining: () => {}, onMissed: () => {}, leaseMs: 60_000 };

function openWorker() {
  const workers = createWorkers(deps.leaseMs);
  const registration = { id: "w", tenant: "default", pool: "media", slots: 9, labels: {}, sdk: "", host: "" };
  const worker: ConnectedWorker = {
    registration: { ...registration, handlers: new Set(["resize"]) },
    executions: new Map(),
    link: newLink(),
    credit: 0,
    isOpen: false,
    heardMs: performance.now(),
    isDraining: false,
  };
  workers.add(worker);
  return { workers, worker };
}

test("credit that waited behind a log is none of the connection that has come meanwhile", async () => {
  const { workers, worker } = openWorker();
  workers.hold(worker, "a");
  const room = Promise.withResolvers<void>();
  await workers.adopt("a", { write: () => room.promise });
  const message = ConnectRequest.fromPartial({ logs: [{ executionId: "a", data: Buffer.from("x") }], credit: 5 });
  const heard = hearWorker(worker, message, { ...deps, workers });
  Object.assign(worker, { link: newLink(), credit: 0 });
  room.resolve();
  await heard;
  expect(worker.credit).toBe(0);
});

test("what it was assigned a lease ago and does not name is lost, or never began; the rest may be on its way", async () => {
  const { workers, worker } = openWorker();
  for (const id of ["named", "began", "ended", "new"]) workers.hold(worker, id);
  const began = await workers.adopt("began", { write: () => {} });
  const never = followExecution("never", "w", () => {}, deps.leaseMs);
  worker.executions.set("never", never);
  const late = (id: string) => Object.assign(worker.executions.get(id) as WorkerExecution, { sinceMs: -deps.leaseMs });
  for (const id of ["named", "began", "ended", "never"]) late(id);
  const missed: string[] = [];
  const message = ConnectRequest.fromPartial({
    finished: [{ executionId: "ended", outcome: "WORKER_OUTCOME_SUCCEEDED" }],
    holding: { executionIds: ["named"] },
  });
  await hearWorker(worker, message, { ...deps, workers, onMissed: (ids) => missed.push(...ids) });
  expect(missed).toEqual(["began", "never"]);
  await expect(began?.exited).rejects.toEqual(new BackendLost("its worker no longer knows it"));
  await expect(never.started).rejects.toEqual(new BackendUnavailable("it did not reach its worker"));
});

test("what it names and should not have it is told to forget", async () => {
  const { workers, worker } = openWorker();
  workers.hold(worker, "its own");
  const cancelled: string[] = [];
  const link = { ...newLink(), cancel: ({ executionId }: ExecutionCancelled) => void cancelled.push(executionId) };
  Object.assign(worker, { link });
  const message = ConnectRequest.fromPartial({ holding: { executionIds: ["its own", "over"] } });
  await hearWorker(worker, message, { ...deps, workers });
  expect(cancelled).toEqual(["over"]);
});

test("more than it may hold is refused, naming field and limit", async () => {
  const { workers, worker } = openWorker();
  const message = ConnectRequest.fromPartial({ holding: { executionIds: Array(10_001).fill("x") } });
  await expect(hearWorker(worker, message, { ...deps, workers })).rejects.toMatchObject({
    fields: [{ field: "holding.execution_ids", description: "has 10001 items; the limit is 10000" }],
  });
});
