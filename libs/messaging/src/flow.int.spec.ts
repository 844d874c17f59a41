/** Facts on their whole way, from the log of one schema over a real nats-server to a consumer. */
import { DomainError, invalid } from "@capstan/errors";
import { uuidv7 } from "@capstan/postgres";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { exampleFact, exampleFacts } from "../../../test/support/facts.ts";
import { connectNats } from "./connection.ts";
import { consumeFacts } from "./consumer.ts";
import { insertDeadLetter, listDeadLetters, replayDeadLetters } from "./deadLetter.ts";
import type { ReceivedFact } from "./receivedFact.ts";
import { firstArrivals, oneTo, startTestFlow, type TestFlow } from "./startTestFlow.ts";

let flow: TestFlow;

beforeEach(async () => {
  flow = await startTestFlow();
});

afterEach(() => flow.stop());

async function ackPending(): Promise<number> {
  return (await (await jetstreamManager(flow.nc)).consumers.info("CAPSTAN_JOB", "orchestrator")).num_ack_pending;
}

test("a fact arrives as it was written, once, and is acked", async () => {
  const { received, consumer } = flow.consume();
  const fact = exampleFact({ correlationId: uuidv7(), causationId: uuidv7(), traceparent: "00-a-b-01" });
  await flow.publish(fact);
  await eventually(() => expect(received).toHaveLength(1));
  const { isTerminal, ...same } = fact;
  expect(received[0]).toMatchObject({
    ...same,
    context: "job",
    stream: "CAPSTAN_JOB",
    streamSequence: 1,
    deliveries: 1,
  });
  expect(received[0]?.time).toBeInstanceOf(Date);
  await eventually(async () => expect(await ackPending()).toBe(0));
  expect(consumer.isHealthy()).toBe(true);
});

test("facts of one aggregate arrive in their order, many aggregates at a time, in batches", async () => {
  const sizes: number[] = [];
  const received: ReceivedFact[] = [];
  const ids = Array.from({ length: 100 }, () => uuidv7());
  await flow.publish(...ids.flatMap((id) => exampleFacts(id, 10)));
  flow.consume({
    handle: async (facts) => {
      sizes.push(facts.length);
      received.push(...facts);
    },
  });
  await eventually(() => expect(received).toHaveLength(1_000));
  for (const id of ids) expect(firstArrivals(received, id)).toEqual(oneTo(10));
  expect(Math.max(...sizes)).toBeGreaterThan(10);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(256);
});

test("a consumer that begins later gets everything, and only what it filters for", async () => {
  await flow.publish(exampleFact(), exampleFact({ noun: "step", event: "succeeded" }));
  const everything = flow.consume();
  const steps = flow.consume({ durable: "steps", filterSubjects: ["capstan.v1.*.job.step.>"] });
  await eventually(() => expect(everything.received).toHaveLength(2));
  await eventually(() => expect(steps.received.map((fact) => fact.type)).toEqual(["capstan.job.v1.step.succeeded"]));
});

test("a consumer that is started again may filter for more, for less, and for everything", async () => {
  const filters = ["job.job.submitted", "job.step.*", "job.job.cancelling"].map((fact) => `capstan.v1.*.${fact}.*`);
  for (const filterSubjects of [filters.slice(0, 2), filters, filters.slice(0, 1), filters.slice(1), []]) {
    const { received, consumer } = flow.consume({ durable: "changing", filterSubjects });
    await eventually(() => expect(consumer.isHealthy()).toBe(true));
    const [wanted, other] = [exampleFact({ event: "submitted" }), exampleFact({ noun: "step", event: "ready" })];
    await flow.publish(wanted, other, exampleFact({ event: "cancelling" }));
    const has = (part: string) => filterSubjects.length === 0 || filterSubjects.some((each) => each.includes(part));
    const expected = [has("submitted"), has("step"), has("cancelling")].filter(Boolean).length;
    await eventually(() => expect(received).toHaveLength(expected));
    await consumer.stop();
  }
});

test("two replicas share the facts", async () => {
  const replicas = [flow.consume({ maxBatch: 5 }), flow.consume({ maxBatch: 5 })];
  await flow.publish(...Array.from({ length: 200 }, () => exampleFact()));
  await eventually(() => expect(replicas.flatMap(({ received }) => received)).toHaveLength(200));
  expect(new Set(replicas.flatMap(({ received }) => received.map((fact) => fact.id))).size).toBe(200);
});

test("a poisoned fact becomes one dead letter, the others are handled, and it can be handled later", async () => {
  const handled: string[] = [];
  const facts = Array.from({ length: 20 }, () => exampleFact());
  const poison = facts[7]?.id ?? "";
  let isCured = false;
  const handle = async (batch: readonly ReceivedFact[]) => {
    if (!isCured && batch.some((fact) => fact.id === poison)) throw invalid([{ field: "spec", description: "is bad" }]);
    handled.push(...batch.map((fact) => fact.id));
  };
  flow.consume({ handle });
  await flow.publish(...facts);
  await eventually(() => expect(handled).toHaveLength(19));
  const [letter, ...more] = await eventually(async () => {
    const letters = await listDeadLetters(flow.pool, 10, null);
    expect(letters).toHaveLength(1);
    return letters;
  });
  expect(more).toEqual([]);
  expect(letter).toMatchObject({
    stream: "CAPSTAN_JOB",
    streamSequence: 8,
    error: "DomainError: spec: is bad",
  });
  await eventually(async () => expect(await ackPending()).toBe(0));

  const ids = [letter?.id ?? ""];
  expect(await replayDeadLetters(flow.pool, ids, handle)).toEqual([]);
  isCured = true;
  expect(await replayDeadLetters(flow.pool, ids, handle)).toEqual(ids);
  expect(await replayDeadLetters(flow.pool, ids, handle)).toEqual([]);
  expect(handled.at(-1)).toBe(poison);
  expect(await listDeadLetters(flow.pool, 10, null)).toEqual([]);
});

test("dead letters are listed oldest first, page after page", async () => {
  const message = {
    durable: "pages",
    stream: "CAPSTAN_JOB",
    subject: "example",
    headers: new Map(),
    data: Buffer.of(),
  };
  for (const streamSequence of [1, 2, 3, 4, 5]) {
    await insertDeadLetter(flow.pool, { ...message, streamSequence, deliveries: 1 }, "why");
  }
  const first = await listDeadLetters(flow.pool, 3, null);
  const second = await listDeadLetters(flow.pool, 3, first.at(-1)?.cursor ?? null);
  expect([...first, ...second].map(({ streamSequence }) => streamSequence)).toEqual([1, 2, 3, 4, 5]);
});

test("a message that is no fact becomes a dead letter at once", async () => {
  const { received } = flow.consume();
  await flow.publish(exampleFact());
  await eventually(() => expect(received).toHaveLength(1));
  const list = headers();
  list.set("ce-type", "com.example.other");
  await jetstream(flow.nc).publish("capstan.v1.default.job.job.submitted.x", "not json", { headers: list });
  await flow.publish(exampleFact());
  await eventually(() => expect(received).toHaveLength(2));
  expect(await listDeadLetters(flow.pool, 10, null)).toMatchObject([
    { error: expect.stringContaining("is none of ours") },
  ]);
});

test("facts that fail for a while are handled in their order when that is over", async () => {
  let failures = 3;
  const received: ReceivedFact[] = [];
  flow.consume({
    handle: async (facts) => {
      if (failures-- > 0) throw new DomainError({ code: "UNAVAILABLE", reason: "DOWN", message: "down" });
      received.push(...facts);
    },
  });
  const id = uuidv7();
  await flow.publish(...exampleFacts(id, 50));
  await eventually(() => expect(received).toHaveLength(50));
  expect(firstArrivals(received, id)).toEqual(oneTo(50));
  expect(flow.log.lines.filter(({ message }) => message.startsWith("facts cannot be handled"))).toHaveLength(1);
});

test("work that takes longer than the ack wait is done once", async () => {
  let calls = 0;
  flow.consume({
    ackWaitMs: 500,
    handle: async () => {
      calls += 1;
      const start = Date.now();
      await eventually(() => expect(Date.now() - start).toBeGreaterThan(1_500));
    },
  });
  await flow.publish(exampleFact());
  await eventually(() => expect(calls).toBe(1));
  await eventually(async () => expect(await ackPending()).toBe(0));
  expect(calls).toBe(1);
});

test("a consumer gets the ack wait it is told, also when it was there before with another", async () => {
  const ackWaitMs = async () => {
    const { config } = await (await jetstreamManager(flow.nc)).consumers.info("CAPSTAN_JOB", "orchestrator");
    return (config.ack_wait ?? 0) / 1e6;
  };
  const first = flow.consume({ ackWaitMs: 500 });
  await eventually(async () => expect(await ackWaitMs()).toBe(500));
  await first.consumer.stop();
  const second = flow.consume({ ackWaitMs: 700 });
  await eventually(() => expect(second.consumer.isHealthy()).toBe(true));
  expect(await ackWaitMs()).toBe(700);
});

/** Delivers what is there so many times, to nobody who does anything with it. */
async function deliverInVain(times: number): Promise<void> {
  const first = flow.consume();
  await eventually(() => expect(first.consumer.isHealthy()).toBe(true));
  await first.consumer.stop();
  await flow.publish(exampleFact());
  const raw = await jetstream(flow.nc).consumers.get("CAPSTAN_JOB", "orchestrator");
  for (let delivery = 1; delivery <= times; delivery++) (await raw.next({ expires: 5_000 }))?.nak();
}

test("a fact that was delivered often, but over which no process has ended, is handled", async () => {
  await deliverInVain(20);
  const { received } = flow.consume();
  await eventually(() => expect(received).toHaveLength(1));
  await eventually(async () => expect(await ackPending()).toBe(0));
  expect(await listDeadLetters(flow.pool, 10, null)).toEqual([]);
  expect((await flow.pool.query("select from suspect")).rowCount).toBe(0);
});

test("a fact over which three processes have ended is set aside, and what came beside it is handled", async () => {
  const facts = Array.from({ length: 20 }, () => exampleFact());
  const culprit = facts[7]?.id ?? "";
  const received = new Set<string>();
  // As a process that ends: its connection is gone, nothing is acked, nothing is given back.
  const handle = async (batch: readonly ReceivedFact[], own: NatsConnection) => {
    for (const { id } of batch) {
      if (id === culprit) {
        await own.close();
        await new Promise(() => {});
      }
    }
    for (const { id } of batch) received.add(id);
  };
  let processes = 0;
  const startProcess = async () => {
    processes += 1;
    const own = await connectNats({ url: flow.nats.url, name: "test", log: flow.log });
    const contexts = ["job"];
    const options = { nc: own, db: flow.pool, contexts, durable: "orchestrator", ackWaitMs: 300, log: flow.log };
    const consumer = consumeFacts({ ...options, handle: (batch) => handle(batch, own) });
    return { own, consumer };
  };
  let process = await startProcess();
  await eventually(() => expect(process.consumer.isHealthy()).toBe(true));
  await flow.publish(...facts);
  const [letter] = await eventually(async () => {
    if (process.own.isClosed()) process = await startProcess();
    const letters = await listDeadLetters(flow.pool, 10, null);
    expect(letters).toHaveLength(1);
    return letters;
  }, 30_000);
  await eventually(() => expect(received.size).toBe(19));
  expect(letter?.error).toMatch("3 processes in a row ended while they handled it");
  expect(received.has(culprit)).toBe(false);
  expect(processes).toBeGreaterThanOrEqual(4);
  await process.consumer.stop();
  await process.own.close();
}, 60_000);

test("a consumer can be stopped while the server is away", async () => {
  const { consumer } = flow.consume();
  await eventually(() => expect(consumer.isHealthy()).toBe(true));
  await flow.nats.kill();
  await eventually(() => expect(consumer.isHealthy()).toBe(false));
  await consumer.stop();
});

test("a consumer that is stopped gives back at once what it did not begin", async () => {
  let release = () => {};
  const first = flow.consume({
    maxBatch: 10,
    handle: () =>
      new Promise<void>((resolve) => {
        release = resolve;
      }),
  });
  await flow.publish(...Array.from({ length: 30 }, () => exampleFact()));
  await eventually(async () => expect(await ackPending()).toBe(30));
  const stopped = first.consumer.stop();
  release();
  await stopped;
  const second = flow.consume();
  await eventually(() => expect(second.received.length).toBeGreaterThanOrEqual(20), 5_000);
});
