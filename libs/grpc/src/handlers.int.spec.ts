/** Handlers over a real connection: what they see of their call, and what becomes of what they throw. */
import { setTimeout as delay } from "node:timers/promises";
import { DomainError, invalid } from "@capstan/errors";
import { describe, expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import type { Call } from "./call.ts";
import { type Message, serveTest } from "./testService.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** Ends only by the signal. */
function untilAborted({ signal }: Call): Promise<never> {
  return delay(60_000, undefined, { signal }).then(() => expect.unreachable());
}

describe("a unary method", () => {
  test("answers, and knows its caller", async () => {
    const { client } = await serveTest({
      say: async ({ text }, { tenant, requestId, traceparent: trace, deadline, signal }) => {
        const inMs = (deadline?.getTime() ?? 0) - Date.now();
        return { text: JSON.stringify({ text, tenant, requestId, trace, inMs, aborted: signal.aborted }) };
      },
    });
    const metadata = { traceparent, "x-request-id": "r-1" };
    const { text } = await client.say({ text: "hi" }, { metadata });
    const seen = JSON.parse(text);
    expect(seen).toMatchObject({ text: "hi", tenant: "default", requestId: "r-1", trace: traceparent, aborted: false });
    expect(seen.inMs).toBeGreaterThan(8_000);
    expect(seen.inMs).toBeLessThanOrEqual(10_000);
  });

  test("a request id or trace that is no such thing is as good as none", async () => {
    const { client } = await serveTest({
      say: async (_, call) => ({ text: `${call.requestId} ${call.traceparent}` }),
    });
    const metadata = { traceparent: "00-x", "x-request-id": "a b" };
    expect((await client.say({ text: "" }, { metadata })).text).toMatch(/^[0-9a-f-]{36} null$/);
  });

  test("a refusal arrives with its details and is not logged", async () => {
    const { client, logged } = await serveTest({
      say: async ({ text }) => {
        throw invalid([{ field: "text", description: `must not be ${text}` }]);
      },
    });
    const refused = client.say({ text: "größer\n%" });
    await expect(refused).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_FIELDS",
      fields: [{ field: "text", description: "must not be größer\n%" }],
    });
    await expect(refused).rejects.toBeInstanceOf(DomainError);
    expect(logged).toEqual([]);
  });

  test("a defect is logged once with its cause, and the caller learns nothing of it", async () => {
    const defect = new TypeError("password is 1234");
    const { client, logged } = await serveTest({ say: () => Promise.reject(defect) });
    await expect(client.say({ text: "" })).rejects.toMatchObject({ code: "INTERNAL", message: "internal error" });
    expect(logged).toEqual([
      {
        level: "error",
        fields: { rpc: "/test.v1.TestService/Say", code: "INTERNAL", err: defect },
        message: "call failed",
      },
    ]);
  });

  test("a handler that throws before it is asynchronous fails like any other", async () => {
    const { client } = await serveTest({
      say: () => {
        throw new Error("at once");
      },
    });
    await expect(client.say({ text: "" })).rejects.toMatchObject({ code: "INTERNAL" });
  });

  test("its signal aborts when the deadline has passed", async () => {
    let reason: unknown;
    const { client, logged } = await serveTest({
      say: (_, call) => {
        call.signal.addEventListener("abort", () => {
          reason = call.signal.reason;
        });
        return untilAborted(call);
      },
    });
    await expect(client.say({ text: "" }, { deadlineMs: 50 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    // The client gives up at the same moment, and may be heard first.
    await eventually(() =>
      expect(reason).toMatchObject({ code: expect.stringMatching(/^(DEADLINE_EXCEEDED|CANCELLED)$/) }),
    );
    expect(logged.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("its signal aborts when the caller gives up", async () => {
    let reason: unknown;
    const { client } = await serveTest({
      say: (_, call) => {
        call.signal.addEventListener("abort", () => {
          reason = call.signal.reason;
        });
        giveUp.abort();
        return untilAborted(call);
      },
    });
    const giveUp = new AbortController();
    const given = client.say({ text: "" }, { signal: giveUp.signal });
    await expect(given).rejects.toMatchObject({ code: "CANCELLED" });
    await eventually(() => expect(reason).toMatchObject({ code: "CANCELLED" }));
    await expect(client.say({ text: "" }, { signal: giveUp.signal })).rejects.toMatchObject({ code: "CANCELLED" });
  });

  test("its signal stays quiet after the answer", async () => {
    const signals: AbortSignal[] = [];
    const { client, server } = await serveTest({
      say: async (request, { signal }) => {
        signals.push(signal);
        return request;
      },
    });
    await client.say({ text: "" });
    client.close();
    await server.stop();
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });
});

describe("a streaming method", () => {
  test("gives every answer in order, and then the refusal it ends with", async () => {
    const { client } = await serveTest({
      async *watch() {
        for (let index = 0; index < 100; index += 1) yield { text: `${index}` };
        throw new DomainError({ code: "OUT_OF_RANGE", reason: "TOO_OLD", message: "gone" });
      },
    });
    const texts: string[] = [];
    const reading = (async () => {
      for await (const { text } of client.watch({ text: "" })) texts.push(text);
    })();
    await expect(reading).rejects.toMatchObject({ code: "OUT_OF_RANGE", reason: "TOO_OLD" });
    expect(texts).toEqual(Array.from({ length: 100 }, (_, index) => `${index}`));
  });

  test("does not run ahead of a reader that is slow", async () => {
    let made = 0;
    const { client } = await serveTest({
      async *watch() {
        for (; made < 10_000; made += 1) yield { text: "x".repeat(10_000) };
      },
    });
    const reader = client.watch({ text: "" })[Symbol.asyncIterator]();
    await reader.next();
    let before = -1;
    await eventually(() => {
      const isStill = made === before;
      before = made;
      expect(isStill).toBe(true);
    });
    expect(made).toBeLessThan(1_000);
    await reader.return?.();
  });

  test("is closed when its reader stops", async () => {
    let isClosed = false;
    const { client } = await serveTest({
      async *watch(request, call) {
        try {
          yield request;
          await untilAborted(call);
        } finally {
          isClosed = true;
        }
      },
    });
    for await (const { text } of client.watch({ text: "one" })) {
      expect(text).toBe("one");
      break;
    }
    await eventually(() => expect(isClosed).toBe(true));
  });

  test("ends with UNAVAILABLE at once when the server stops", async () => {
    const { client, server } = await serveTest({
      async *watch(request, call) {
        yield request;
        await untilAborted(call);
      },
    });
    const reader = client.watch({ text: "" })[Symbol.asyncIterator]();
    await reader.next();
    const startMs = performance.now();
    const stopped = server.stop();
    await expect(reader.next()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "SERVER_STOPPING" });
    await stopped;
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  test("ends by its deadline, also when its generator does not listen", async () => {
    const never = new Promise<Message>(() => {});
    const { client } = await serveTest({
      async *watch(request) {
        yield request;
        yield await never;
      },
    });
    const reader = client.watch({ text: "" }, { deadlineMs: 100 })[Symbol.asyncIterator]();
    await reader.next();
    await expect(reader.next()).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("a failure before anybody reads is found by the reader and harms nobody else", async () => {
    const { client } = await serveTest({
      // biome-ignore lint/correctness/useYield: it fails before its first answer
      async *watch() {
        throw new DomainError({ code: "NOT_FOUND", reason: "JOB_NOT_FOUND", message: "none" });
      },
    });
    const answers = client.watch({ text: "" });
    await client.say({ text: "a round trip later" });
    await expect(answers[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
