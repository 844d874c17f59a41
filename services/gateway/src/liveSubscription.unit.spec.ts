/** What a subscription leaves behind when its client goes. */
import { expect, test, vi } from "vitest";
import type { LiveDeps } from "./liveDeps.ts";
import { eventOfLog } from "./liveEvent.ts";
import type { FeedListener } from "./liveFeed.ts";
import { openSubscription } from "./liveSubscription.ts";

const jobId = "01a1ff42-efb4-7000-928c-78aa3bb7d9a1";

test("labels that cannot be read are not asked for any more when nobody waits for them", async () => {
  const listeners = new Set<FeedListener>();
  const feed = {
    listen(listener: FeedListener) {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    },
    ready: async () => {},
  };
  const asked: AbortSignal[] = [];
  const learn = (_: readonly string[], signal: AbortSignal) => {
    asked.push(signal);
    return new Promise<void>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const deps = { feeds: { of: () => feed }, labels: { of: () => undefined, learn } } as unknown as LiveDeps;
  const onBegin = vi.fn();
  const listener = { outlet: {}, onBegin, onEnd: vi.fn(), onFail: vi.fn() } as unknown as Parameters<
    typeof openSubscription
  >[1];
  const wanted = { type: "subscribe", id: "red", topic: "jobs", replay: 0, afterSequence: null } as const;
  const subscription = openSubscription({ ...wanted, filter: { labels: { team: "red" } } }, listener, deps);
  await vi.waitFor(() => expect(onBegin).toHaveBeenCalled());
  const logged = { id: "i", sequence: 2, causationId: "", traceparent: "", isTerminal: false, time: new Date(0) };
  const event = eventOfLog(jobId, "default", { ...logged, type: "capstan.job.v1.job.started", dataJson: "{}" });
  for (const { onEvent } of listeners) onEvent(event);
  expect(asked.map(({ aborted }) => aborted)).toEqual([false]);
  subscription.stop();
  expect(asked.map(({ aborted }) => aborted)).toEqual([true]);
  expect(listeners.size).toBe(0);
});
