/**
 * Fetches the messages of one durable consumer for ever. The client's own `consume` does not end when its consumer is deleted, and
 * sits out a pause after an outage; here it is ended on either, and everything is opened anew.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import { type DurableOptions, openDurable } from "./durableConsumer.ts";
import { pauseMs } from "./handleBatch.ts";

interface FetchOptions extends DurableOptions {
  readonly maxBatch: number;
  /** Called for each message; the next one waits for the promise, if it gives one. */
  readonly push: (message: JsMsg) => Promise<void> | null;
  readonly signal: AbortSignal;
}

interface Fetching {
  /** Whether messages can arrive at this moment. */
  isOpen(): boolean;
  readonly ended: Promise<void>;
}

/** Runs until the signal is aborted; failures are logged once for each streak of the same. */
export function startFetching(options: FetchOptions): Fetching {
  const { nc, signal, log, context, durable } = options;
  let messages: ConsumerMessages | null = null;
  let isConnected = true;
  const close = () => void messages?.close();
  const status = nc.status();
  signal.addEventListener("abort", close);

  async function closeOnReconnect(): Promise<void> {
    for await (const { type } of status) {
      if (signal.aborted) return;
      if (type === "disconnect") isConnected = false;
      if (type !== "reconnect") continue;
      isConnected = true;
      close();
    }
  }

  async function fetchForEver(): Promise<void> {
    let failures = 0;
    let lastError = "";
    while (!signal.aborted && !nc.isClosed()) {
      try {
        messages = await open(options);
        failures = 0;
        if (signal.aborted) close();
        for await (const message of messages) await options.push(message);
      } catch (error) {
        failures += 1;
        if (String(error) !== lastError)
          log.warn({ err: error, context, durable }, "facts cannot be consumed, trying on");
        lastError = String(error);
      } finally {
        messages = null;
      }
      await sleep(pauseMs(Math.max(failures, 1)), undefined, { signal }).catch(() => {});
    }
  }

  void closeOnReconnect();
  return { isOpen: () => isConnected && messages !== null, ended: fetchForEver() };
}

async function open(options: FetchOptions): Promise<ConsumerMessages> {
  const consumer = await openDurable(options);
  return consumer.consume({
    max_messages: options.maxBatch,
    threshold_messages: Math.ceil(options.maxBatch / 2),
    expires: 10_000,
    abort_on_missing_resource: true,
  });
}
