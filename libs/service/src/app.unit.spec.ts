import { DomainError } from "@capstan/errors";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { createApp } from "./app.ts";
import { checkAll } from "./check.ts";
import { recordLog } from "./logRecorder.ts";

function startApp() {
  const { log, lines } = recordLog();
  const app = createApp("job", log);
  onTestFinished(() => app.stop());
  return { app, lines };
}

test("what was opened last is closed first, and what fails to close does not keep the rest open", async () => {
  const { app, lines } = startApp();
  const closed: string[] = [];
  app.onStop(() => void closed.push("pool"));
  app.onStop(() => Promise.reject(new Error("already closed")));
  app.onStop(async () => void closed.push("server"));
  await Promise.all([app.stop(), app.stop()]);
  expect(closed).toEqual(["server", "pool"]);
  expect(app.signal.aborted).toBe(true);
  expect(lines).toMatchObject([{ msg: "closing failed" }]);
});

test("what is opened when stopping has begun is closed at once", async () => {
  const { app } = startApp();
  await app.stop();
  let isClosed = false;
  app.onStop(() => {
    isClosed = true;
  });
  await eventually(() => isClosed);
});

test("it is ready when it has started and everything it depends on answers", async () => {
  const { app } = startApp();
  let isDown = false;
  app.addCheck("postgres", async () => {
    if (isDown) throw Object.assign(new Error("host 10.0.0.7, user capstan_job"), { code: "57P03" });
  });
  app.addCheck("nats", async () => {});
  app.startLoop({ name: "relay", intervalMs: 5_000, once: async () => {} });
  expect(await app.health()).toMatchObject({ service: "job", ready: false });
  app.markStarted();
  expect(await app.health()).toMatchObject({
    ready: true,
    dependencies: [
      { name: "postgres", ok: true },
      { name: "nats", ok: true },
    ],
    loops: [{ name: "relay", ok: true }],
  });
  isDown = true;
  const { ready, dependencies } = await app.health();
  expect(ready).toBe(false);
  expect(dependencies[0]).toEqual({ name: "postgres", ok: false, durationMs: expect.any(Number), error: "57P03" });
  isDown = false;
  await app.stop();
  expect(await app.health()).toMatchObject({ ready: false });
});

test("a check that hangs does not hang the answer", async () => {
  const hanging = new Map([["nats", () => new Promise<void>(() => {})]]);
  expect(await checkAll(hanging, 5)).toMatchObject([{ name: "nats", ok: false, error: "TIMEOUT" }]);
});

test("two loops of one name are a defect", () => {
  const { app } = startApp();
  const options = { name: "relay", intervalMs: 5_000, once: async () => {} };
  app.startLoop(options);
  expect(() => app.startLoop(options)).toThrow("there is a loop relay already");
});

test("what is not there yet is waited for, and seen to be missing", async () => {
  const { app, lines } = startApp();
  let isThere = false;
  const waiting = app.untilReady("postgres", async () => {
    if (!isThere) throw Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    return "pool";
  });
  await eventually(async () => {
    const { dependencies } = await app.health();
    expect(dependencies).toMatchObject([{ name: "postgres", ok: false, error: "ECONNREFUSED" }]);
  });
  isThere = true;
  expect(await waiting).toBe("pool");
  expect((await app.health()).dependencies).toEqual([]);
  expect(lines.map(({ msg }) => msg)).toEqual(["waiting for a dependency", "dependency is there"]);
});

test("what is waited for is seen to be missing also when the waiting never fails", async () => {
  const { app } = startApp();
  const arrival = Promise.withResolvers<void>();
  const waiting = app.untilReady("nats", () => arrival.promise);
  expect((await app.health()).dependencies).toMatchObject([{ name: "nats", ok: false, error: "NOT_THERE_YET" }]);
  arrival.resolve();
  await waiting;
  expect((await app.health()).dependencies).toEqual([]);
});

test("waiting for a dependency leaves the check of it in place", async () => {
  const { app } = startApp();
  app.addCheck("postgres", async () => {});
  await app.untilReady("postgres", async () => {});
  expect((await app.health()).dependencies).toMatchObject([{ name: "postgres", ok: true }]);
});

test("what waiting cannot cure is thrown, and stopping ends the waiting", async () => {
  const { app } = startApp();
  const broken = () => Promise.reject(Object.assign(new Error("syntax error"), { code: "42601" }));
  await expect(app.untilReady("postgres", broken)).rejects.toThrow("syntax error");
  const absent = new DomainError({ code: "UNAVAILABLE", reason: "GONE", message: "gone" });
  const waiting = app.untilReady("nats", () => Promise.reject(absent));
  await app.stop();
  await expect(waiting).rejects.toThrow("aborted");
});
