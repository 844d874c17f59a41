/** What a publisher leaves on the stream, together or one by one, and what it does with facts that are there already. */
import type { StoredFact } from "@capstan/postgres";
import { openPool, type Pool } from "@capstan/postgres";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { exampleFacts } from "../../../test/support/facts.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { connectNats } from "./connection.ts";
import { createPublisher, type Publish } from "./publisher.ts";
import { ensureStream } from "./stream.ts";

let nats: TestNats;
let nc: NatsConnection;
let database: TestDatabase;
let pool: Pool;
const log = createTestLog();

beforeAll(async () => {
  [nats, database] = await Promise.all([startTestNats(), createMigratedDatabase("job")]);
  nc = await connectNats({ url: nats.url, name: "test", log });
  pool = openPool({ url: database.url, schema: "job", log });
});

afterAll(async () => {
  await nc.close();
  await pool.end();
  await Promise.all([database.drop(), nats.release()]);
});

function factsOf(context: string, count: number): readonly StoredFact[] {
  const id = crypto.randomUUID();
  return exampleFacts(id, count).map((fact) => ({
    ...fact,
    context,
    time: new Date(),
    json: JSON.stringify(fact.data),
  }));
}

/** Ids in the order of the stream. */
async function idsOn(stream: string): Promise<readonly string[]> {
  const manager = await jetstreamManager(nc);
  const { state } = await manager.streams.info(stream);
  const { streams } = jetstream(nc);
  const source = await streams.get(stream);
  const ids: string[] = [];
  for (let seq = 1; seq <= state.last_seq; seq += 1) {
    ids.push((await source.getMessage({ seq }))?.header.get("ce-id") ?? "");
  }
  return ids;
}

async function publishAll(publish: Publish, facts: readonly StoredFact[]): Promise<void> {
  await eventually(async () => expect(await publish(facts)).toEqual(facts.map(() => true)));
}

const idOf = ({ id }: StoredFact) => id;

describe.each([
  ["takes batches", "execution", true],
  ["takes none", "orchestrator", false],
])("a stream that %s", (_, context, takesBatches) => {
  let publish: Publish;
  const stream = `CAPSTAN_${context.toUpperCase()}`;

  beforeAll(async () => {
    if (!takesBatches) {
      const manager = await jetstreamManager(nc);
      await ensureStream(nc, { context: "provider" }, log);
      const { config } = await manager.streams.info("CAPSTAN_PROVIDER");
      const { allow_atomic: _atomic, ...without } = config;
      await manager.streams.add({ ...without, name: stream, subjects: [`capstan.v1.*.${context}.>`] });
    }
    expect((await ensureStream(nc, { context }, log)).takesBatches).toBe(takesBatches);
    publish = createPublisher({ nc, context, db: pool, log });
  });

  test("holds facts once and in their order, however often they are published, alone and among new ones", async () => {
    const [first, second, third] = [factsOf(context, 5), factsOf(context, 3), factsOf(context, 1)];
    await publishAll(publish, first);
    await publishAll(publish, [...first, ...second]);
    await publishAll(publish, third);
    await publishAll(publish, [...third, ...first.slice(2), ...second]);
    expect(await idsOn(stream)).toEqual([...first, ...second, ...third].map(idOf));
  });

  test("holds more than one batch takes, each fact once", async () => {
    const before = (await idsOn(stream)).length;
    const large = factsOf(context, 30).map((fact) => ({
      ...fact,
      json: JSON.stringify({ text: "x".repeat(400_000) }),
    }));
    await publishAll(publish, large);
    expect((await idsOn(stream)).slice(before)).toEqual(large.map(idOf));
  });
});

test("what a broken connection leaves unanswered is given up at once, and not said again on the next", async () => {
  const publish = createPublisher({ nc, context: "gateway", db: pool, log });
  await publishAll(publish, factsOf("gateway", 2));
  const facts = factsOf("gateway", 100);
  const before = performance.now();
  const answers = publish(facts);
  await nats.kill();
  expect(await answers).toEqual(facts.map(() => false));
  expect(performance.now() - before).toBeLessThan(3_000);
  await nats.restart();
  await publishAll(publish, facts);
  expect((await idsOn("CAPSTAN_GATEWAY")).slice(2)).toEqual(facts.map(idOf));
});

test("where the stream is gone and somebody listens to its subjects, publishing is answered in time, and goes on with a new stream", async () => {
  const publish = createPublisher({ nc, context: "job", db: pool, log });
  const facts = factsOf("job", 3);
  await publishAll(publish, facts);
  const listener = await connectNats({ url: nats.url, name: "listener", log });
  listener.subscribe("capstan.v1.>"); // so that the server does not tell that nobody takes them
  await listener.flush();
  await (await jetstreamManager(nc)).streams.delete("CAPSTAN_JOB");
  const more = factsOf("job", 3);
  expect(await publish(more)).toEqual([false, false, false]);
  await publishAll(publish, more);
  await listener.close();
});
