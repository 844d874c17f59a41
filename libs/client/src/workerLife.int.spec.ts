/** How a worker comes, changes its runner and goes, against runners that speak the true protocol over gRPC. */
import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { startFakeRunner } from "./fakeRunner.ts";
import { connectedTo, heldHandler, untilAborted, work } from "./testWorker.ts";

test("a worker that is stopped takes nothing more, waits for what runs and for its results to be kept", async () => {
  const runner = await startFakeRunner();
  const { handler, call } = heldHandler();
  const { worker } = await work(runner, { handlers: { handler } });
  const states: string[] = [];
  worker.onState((state) => states.push(state));
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  const { context, end } = await call(0);
  const stopped = worker.stop();
  await eventually(() => connection.isDraining);
  expect([worker.state, context.signal.aborted]).toEqual(["draining", false]);
  end("done");
  await eventually(() => expect(connection.finished).toMatchObject([{ result: "done" }]));
  expect([worker.state, connection.credit]).toEqual(["draining", 10]);
  connection.say({ acknowledged: [executionId] });
  await stopped;
  expect(states).toEqual(["draining", "stopped"]);
  await eventually(() => connection.hasEnded);
  expect(runner.connections).toHaveLength(1);
});

test("handlers that do not end in the grace of a stop are told to, and what they throw then is reported lost", async () => {
  const runner = await startFakeRunner();
  const { worker } = await work(runner, { handlers: { handler: untilAborted } });
  const connection = await runner.connection(0);
  const executionId = connection.assign("handler");
  await eventually(() => expect(connection.started).toEqual([executionId]));
  const stopped = worker.stop({ graceMs: 1 });
  await eventually(() => expect(connection.finished).toMatchObject([{ outcome: "WORKER_OUTCOME_LOST" }]));
  connection.say({ acknowledged: [executionId] });
  await stopped;
});

test("a runner that goes away is left for another, and what runs goes on", async () => {
  const [one, other] = [await startFakeRunner(), await startFakeRunner()];
  const { handler, call } = heldHandler();
  await connectedTo(one.address, other.address).worker({ pool: "media", slots: 1, handlers: { handler } });
  const [first, next] = one.connections.length === 1 ? [one, other] : [other, one];
  const connection = await first.connection(0);
  const executionId = connection.assign("handler");
  const { context } = await call(0);
  connection.say({ isDraining: true });
  expect((await next.connection(0)).register.held).toEqual([{ executionId, fence: 1 }]);
  expect(context.signal.aborted).toBe(false);
});

test("where nobody listens, a worker takes the next address", async () => {
  const runner = await startFakeRunner();
  const capstan = connectedTo("127.0.0.1:1", runner.address);
  const workers = await Promise.all(
    Array.from({ length: 5 }, () => capstan.worker({ pool: "media", slots: 1, handlers: { noop: () => 0 } })),
  );
  expect(workers.map(({ state }) => state)).toEqual(Array(5).fill("connected"));
});

test("a final refusal rejects, with what it was refused for", async () => {
  const runner = await startFakeRunner({ refuse: { times: 1, code: status.FAILED_PRECONDITION } });
  const worker = connectedTo(runner.address).worker({ pool: "media", slots: 1, handlers: { noop: () => 0 } });
  await expect(worker).rejects.toMatchObject({ code: "FAILED_PRECONDITION", message: "not now" });
});

test("a runner that is not ready is asked again", async () => {
  const runner = await startFakeRunner({ refuse: { times: 3, code: status.UNAVAILABLE } });
  const { worker } = await work(runner, { handlers: { noop: () => 0 } });
  expect(worker.state).toBe("connected");
});

test("an attempt to connect ends with its signal", async () => {
  const controller = new AbortController();
  const options = { pool: "media", slots: 1, handlers: { noop: () => 0 }, signal: controller.signal };
  const worker = connectedTo("127.0.0.1:1").worker(options);
  controller.abort();
  await expect(worker).rejects.toMatchObject({ code: "CANCELLED" });
});

test("a worker tells where it stands and why", async () => {
  const runner = await startFakeRunner();
  const { worker } = await work(runner, { handlers: { noop: () => 0 } });
  const changes: (readonly [string, string | undefined])[] = [];
  const stopListening = worker.onState((state, cause) => changes.push([state, cause?.code]));
  (await runner.connection(0)).cut();
  await runner.connection(1);
  await eventually(() => worker.state === "connected");
  expect(changes).toEqual([
    ["connecting", expect.any(String)],
    ["connected", undefined],
  ]);
  stopListening();
  await worker.stop();
  expect(changes).toHaveLength(2);
});

test("once in a lease a worker says what it has", async () => {
  const runner = await startFakeRunner({ leaseMs: 600 });
  const { handler, call } = heldHandler();
  await work(runner, { slots: 2, handlers: { wait: handler, noop: () => 0 } });
  const connection = await runner.connection(0);
  const [running, ended] = [connection.assign("wait"), connection.assign("noop")];
  const said = () =>
    connection.messages.flatMap(({ holding }) => (holding === undefined ? [] : [holding.executionIds]));
  await eventually(() => expect(said()[0]).toEqual([running, ended])); // the end of the second is not acknowledged
  connection.say({ acknowledged: [ended] });
  await eventually(() => expect(said().at(-1)).toEqual([running]));
  (await call(0)).end();
});
