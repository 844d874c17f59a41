/** Servers, streams, consumers and a database that are lost, and come back empty or with less: every fact arrives all the same. */
import { type Fact, uuidv7 } from "@capstan/postgres";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { exampleFact, exampleFacts } from "../../../test/support/facts.ts";
import type { ReceivedFact } from "./receivedFact.ts";
import { firstArrivals, oneTo, startTestFlow, type TestFlow } from "./startTestFlow.ts";

let flow: TestFlow;

beforeEach(async () => {
  flow = await startTestFlow();
});

afterEach(() => flow.stop());

/** Publishes facts of one aggregate while something is done to the server, and checks that every one of them arrives. */
async function everyFactArrives(breakIt: () => Promise<unknown>): Promise<readonly ReceivedFact[]> {
  const { received } = flow.consume();
  const id = uuidv7();
  await flow.publish(...exampleFacts(id, 20));
  await eventually(() => expect(received).toHaveLength(20));
  await flow.publish(...exampleFacts(id, 20, 21));
  await breakIt();
  await flow.publish(...exampleFacts(id, 20, 41));
  await eventually(() => expect(new Set(firstArrivals(received, id)).size).toBe(60), 30_000);
  expect(firstArrivals(received, id)).toEqual(oneTo(60));
  return received;
}

test("a consumer that is deleted under way is made anew", async () => {
  await everyFactArrives(async () => (await jetstreamManager(flow.nc)).consumers.delete("CAPSTAN_JOB", "orchestrator"));
});

test("a stream that is deleted under way is made anew, and filled again from Postgres", async () => {
  await everyFactArrives(async () => (await jetstreamManager(flow.nc)).streams.delete("CAPSTAN_JOB"));
  expect(flow.log.lines.map(({ message }) => message)).toContain("stream was rebuilt; facts are published again");
  const { state } = await (await jetstreamManager(flow.nc)).streams.info("CAPSTAN_JOB");
  expect(state.messages).toBe(61); // with the fact that it was repaired
});

test("a server that is killed and comes back is used again by itself", async () => {
  await everyFactArrives(async () => {
    await flow.nats.kill();
    await flow.nats.restart();
  });
});

test("a server that comes back with an empty store is filled again from Postgres", async () => {
  await everyFactArrives(async () => {
    await flow.nats.wipe();
    await flow.nats.restart();
  });
  const { state } = await (await jetstreamManager(flow.nc)).streams.info("CAPSTAN_JOB");
  expect(state.messages).toBe(61); // with the fact that it was repaired
});

test("a tail that a server has lost is published again, also what came late, and nothing is told twice in another order", async () => {
  const { received } = flow.consume();
  const id = uuidv7();
  /** Facts that were written a while ago, and are published only when the server is back. */
  async function publishLate(facts: readonly Fact[], minutesAgo: number): Promise<void> {
    await flow.nats.kill();
    await eventually(() =>
      expect(flow.nc.isClosed() || flow.log.lines.some(({ message }) => message === "nats connection was lost")),
    );
    await flow.publish(...facts);
    const ids = facts.map((fact) => fact.id);
    const ago = `${minutesAgo} minutes`;
    await flow.pool.query("update event set time = time - $2::interval where id = any($1::uuid[])", [ids, ago]);
    await flow.nats.restart();
  }
  await publishLate(exampleFacts(id, 20), 10);
  await eventually(() => expect(firstArrivals(received, id)).toEqual(oneTo(20)), 30_000);
  await flow.nats.kill();
  const putBack = await flow.nats.keepMessages("CAPSTAN_JOB");
  await flow.nats.restart();
  await publishLate(exampleFacts(id, 20, 21), 9);
  await eventually(() => expect(firstArrivals(received, id)).toEqual(oneTo(40)), 30_000);

  await flow.nats.kill();
  await putBack();
  await flow.nats.restart();
  await flow.publish(...exampleFacts(id, 20, 41));
  await eventually(() => expect(firstArrivals(received, id)).toEqual(oneTo(60)), 30_000);
  await eventually(async () => {
    const { state } = await (await jetstreamManager(flow.nc)).streams.info("CAPSTAN_JOB", { subjects_filter: ">" });
    const ours = Object.keys(state.subjects ?? {}).filter((subject) => subject.endsWith(id));
    const messages = ours.reduce((sum, subject) => sum + (state.subjects?.[subject] ?? 0), 0);
    expect(messages).toBeGreaterThanOrEqual(60);
  });
});

test("facts written while the server is away are published when it is back", async () => {
  const { received, consumer } = flow.consume();
  await flow.publish(exampleFact());
  await eventually(() => expect(received).toHaveLength(1));
  await flow.nats.kill();
  await eventually(() => expect(flow.log.lines.map(({ message }) => message)).toContain("nats connection was lost"));
  await flow.publish(exampleFact(), exampleFact());
  await flow.nats.restart();
  await eventually(() => expect(new Set(received.map((fact) => fact.id)).size).toBe(3));
  await eventually(() => expect(consumer.isHealthy()).toBe(true));
});

test("a database that is away does not lose what it acknowledged: facts come when it is back", async () => {
  const { received } = flow.consume();
  await flow.publish(exampleFact());
  await eventually(() => expect(received).toHaveLength(1));
  await flow.pool.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and datname = current_database() and pid <> pg_backend_pid()",
  );
  await eventually(() => flow.publish(exampleFact()));
  await eventually(() => expect(received.length).toBeGreaterThanOrEqual(2));
});
