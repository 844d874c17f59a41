/** A durable consumer is opened by many replicas, again and again, while others move it on. */
import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { connectNats } from "./connection.ts";
import { openDurable } from "./durableConsumer.ts";
import { ensureStream, recreateConsumersAhead } from "./stream.ts";

let nats: TestNats;
let nc: NatsConnection;
let log: ReturnType<typeof createTestLog>;

beforeEach(async () => {
  log = createTestLog();
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: "test", log });
  await ensureStream(nc, { context: "job" }, log);
});

afterEach(async () => {
  await nc.close();
  await nats.release();
});

const open = () => openDurable({ nc, context: "job", durable: "shared", filterSubjects: [], ackWaitMs: 10_000, log });
const creations = () => log.lines.filter(({ message }) => message === "consumer was created").length;

test("a consumer that another replica moves on while it is opened is not taken for one that is ahead of its stream", async () => {
  const consumer = await open();
  const messages = await consumer.consume();
  const moving = (async () => {
    for await (const message of messages) message.ack();
  })();
  let isOver = false;
  const publishing = (async () => {
    const js = jetstream(nc);
    while (!isOver) await Promise.all(Array.from({ length: 20 }, () => js.publish("capstan.v1.t.job.job.x.1", "x")));
  })();
  for (let round = 0; round < 40; round++) await Promise.all(Array.from({ length: 5 }, open));
  isOver = true;
  await publishing;
  await messages.close();
  await moving;
  expect(creations()).toBe(1);
});

test("a consumer that is made anew behind a lost tail gets again what it had not acknowledged before it", async () => {
  const consumer = await open();
  const js = jetstream(nc);
  for (let sequence = 1; sequence <= 5; sequence += 1) await js.publish("capstan.v1.t.job.job.x.1", "x");
  for await (const message of await consumer.fetch({ max_messages: 5 })) {
    if (message.seq <= 2) await message.ackAck();
  }
  expect(await recreateConsumersAhead(nc, "job", 3)).toEqual(["shared"]);
  const again = await (await open()).fetch({ max_messages: 3 });
  const sequences: number[] = [];
  for await (const { seq } of again) sequences.push(seq);
  expect(sequences).toEqual([3, 4, 5]);
});

test("a consumer that is given what is published at this moment is not taken for one that is ahead", async () => {
  const consumer = await open();
  const js = jetstream(nc);
  const over = new AbortController();
  const publish = async () => {
    while (!over.signal.aborted) await js.publish("capstan.v1.t.job.job.x.1", "x");
  };
  const messages = await consumer.consume();
  const acknowledge = async () => {
    for await (const message of messages) message.ack();
  };
  const [publishing, acknowledging] = [publish(), acknowledge()];
  for (let round = 0; round < 200; round += 1) {
    expect(await recreateConsumersAhead(nc, "job", Number.POSITIVE_INFINITY)).toEqual([]);
  }
  over.abort();
  await publishing;
  messages.stop();
  await acknowledging;
});
