/** What is heard while its worker connects anew. */
import { ConnectRequest } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { expect, test } from "vitest";
import { hearWorker } from "./hearWorker.ts";
import { openLink } from "./workerLink.ts";
import { type ConnectedWorker, createWorkers } from "./workers.ts";

const newLink = () => openLink({ send: () => true, hasRoom: async () => {} }, () => {});

test("credit that waited behind a log is none of the connection that has come meanwhile", async () => {
  const workers = createWorkers(60_000);
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
  workers.hold(worker, "a");
  const room = Promise.withResolvers<void>();
  await workers.adopt("a", { write: () => room.promise });
  const message = ConnectRequest.fromPartial({ logs: [{ executionId: "a", data: Buffer.from("x") }], credit: 5 });
  const heard = hearWorker(worker, message, { workers, onProgress: () => {}, onDraining: () => {} });
  Object.assign(worker, { link: newLink(), credit: 0 });
  room.resolve();
  await heard;
  expect(worker.credit).toBe(0);
});
