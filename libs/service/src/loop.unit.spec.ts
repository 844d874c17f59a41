import { setTimeout as delay } from "node:timers/promises";
import { DomainError } from "@capstan/errors";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { recordLog } from "./logRecorder.ts";
import { type LoopOptions, startLoop } from "./loop.ts";

const never = 1_000_000;

function start(once: LoopOptions["once"], intervalMs = never) {
  const { log, lines } = recordLog();
  const loop = startLoop({ name: "prune", intervalMs, once }, log);
  onTestFinished(() => loop.stop());
  return { loop, lines };
}

test("the first pass comes without waking, and after what follows the start in the same turn", async () => {
  let wired = "";
  let seen = "";
  start(async () => {
    seen = wired;
  });
  wired = "wired";
  await eventually(() => seen === "wired");
});

test("it passes again after its interval, when woken, and at once when there is more", async () => {
  let passes = 0;
  start(async () => {
    passes += 1;
  }, 1);
  await eventually(() => passes > 3);

  let woken = 0;
  const { loop } = start(async () => {
    woken += 1;
  });
  await eventually(() => woken === 1);
  loop.wake();
  await eventually(() => woken === 2);

  let left = 100;
  start(async () => {
    left -= 1;
    return left > 0;
  });
  await eventually(() => left === 0);
});

test("passes never overlap, and waking during one leads to one more", async () => {
  let running = 0;
  let most = 0;
  let passes = 0;
  const gate = Promise.withResolvers<void>();
  const { loop } = start(async () => {
    passes += 1;
    running += 1;
    most = Math.max(most, running);
    await gate.promise;
    running -= 1;
  });
  await eventually(() => passes === 1);
  for (let index = 0; index < 10; index += 1) loop.wake();
  gate.resolve();
  await eventually(() => passes === 2 && running === 0);
  expect(most).toBe(1);
  expect(loop.health()).toMatchObject({ name: "prune", ok: true });
});

test("a streak of failures is logged once, and so is its end", async () => {
  let passes = 0;
  const { loop, lines } = start(async () => {
    passes += 1;
    if (passes <= 3) throw Object.assign(new Error("connect to 10.0.0.7 failed"), { code: "ECONNREFUSED" });
  });
  await eventually(() => expect(loop.health().error).toBe("ECONNREFUSED"));
  await eventually(() => passes === 4);
  await eventually(() => expect(loop.health()).not.toHaveProperty("error"));
  expect(lines.map(({ msg }) => msg)).toEqual(["loop failed; it is tried again until it works", "loop works again"]);
  expect(lines).toMatchObject([{ loop: "prune" }, { loop: "prune", failures: 3 }]);
});

test("waking does not shorten the pause after a failure", async () => {
  let passes = 0;
  const { loop } = start(() => {
    passes += 1;
    return Promise.reject(new DomainError({ code: "UNAVAILABLE", reason: "GONE", message: "gone" }));
  });
  await eventually(() => passes === 4);
  const before = passes;
  for (let index = 0; index < 50; index += 1) {
    loop.wake();
    await delay(0);
  }
  expect(passes).toBeLessThanOrEqual(before + 1);
});

test("stopping aborts the pass that runs, waits for its end, and is no failure", async () => {
  const events: string[] = [];
  const { loop, lines } = start(async (signal) => {
    events.push("began");
    try {
      await delay(never, undefined, { signal });
    } finally {
      events.push("ended");
    }
  });
  await eventually(() => events.length === 1);
  await loop.stop();
  expect(events).toEqual(["began", "ended"]);
  expect(lines).toEqual([]);
});
