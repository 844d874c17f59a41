import type { Pool } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { exampleFact, exampleFacts } from "../../../test/support/facts.ts";
import { createTestLoops } from "../../../test/support/loops.ts";
import { appendFacts, requeueFacts, type StoredFact } from "./facts.ts";
import { openPool } from "./pool.ts";
import { type Loops, relayOnce, startRelay } from "./relay.ts";
import { inTransaction } from "./transaction.ts";
import { uuidv7 } from "./uuid.ts";

let database: TestDatabase;
let pool: Pool;
let loops: ReturnType<typeof createTestLoops>;
const log = createTestLog();

beforeEach(async () => {
  database = await createMigratedDatabase("job");
  pool = openPool({ url: database.url, schema: "job", log, max: 10 });
  loops = createTestLoops();
});

afterEach(async () => {
  await loops.stop();
  await pool.end();
  await database.drop();
});

/** A broker that remembers what it stored, and fails when it is told to. */
function createBroker(accepts: (fact: StoredFact) => boolean = () => true) {
  const stored: StoredFact[] = [];
  const publish = async (facts: readonly StoredFact[]) => {
    const failed = new Set<string>();
    return facts.map((fact) => {
      if (failed.has(fact.aggregateId) || !accepts(fact)) {
        failed.add(fact.aggregateId);
        return false;
      }
      stored.push(fact);
      return true;
    });
  };
  return { stored, publish };
}

function sequencesOf(facts: readonly StoredFact[], aggregateId: string): readonly number[] {
  return facts.filter((fact) => fact.aggregateId === aggregateId).map((fact) => fact.sequence);
}

const oneTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1);
const isListEmpty = async () => expect((await pool.query("select from outbox")).rowCount).toBe(0);

test("facts are published whole, in the order of their aggregate, and taken off the list", async () => {
  const broker = createBroker();
  const ids = [uuidv7(), uuidv7(), uuidv7()];
  for (let sequence = 1; sequence <= 4; sequence++) {
    await appendFacts(
      pool,
      ids.map((aggregateId) => exampleFact({ aggregateId, sequence })),
    );
  }
  startRelay({ pool, context: "job", publish: broker.publish, log, app: loops });
  await eventually(isListEmpty);
  for (const id of ids) expect(sequencesOf(broker.stored, id)).toEqual([1, 2, 3, 4]);
  expect(broker.stored[0]).toMatchObject({
    context: "job",
    tenant: "default",
    json: JSON.stringify(exampleFact().data),
  });
});

test("a fact is published moments after its wake, not at the next poll", async () => {
  const broker = createBroker();
  const relay = startRelay({ pool, context: "job", publish: broker.publish, log, app: loops });
  await eventually(isListEmpty);
  await appendFacts(pool, [exampleFact()]);
  const before = performance.now();
  relay.wake();
  await eventually(() => expect(broker.stored).toHaveLength(1));
  expect(performance.now() - before).toBeLessThan(1_000);
});

test("facts are published at once also when the answer to their commit was lost", async () => {
  const broker = createBroker();
  const { commit } = await startFreshRelay(broker.publish);
  pool.once("acquire", (client) => {
    const query = client.query.bind(client) as (...values: unknown[]) => Promise<unknown>;
    const lossy = async (...values: unknown[]) => {
      const answer = await query(...values);
      if (values[0] === "commit") throw new Error("Connection terminated unexpectedly");
      return answer;
    };
    Object.assign(client, { query: lossy });
  });
  const before = performance.now();
  await expect(commit(exampleFact())).rejects.toThrow("Connection terminated");
  await eventually(() => expect(broker.stored).toHaveLength(2));
  expect(performance.now() - before).toBeLessThan(5_000);
});

test("facts whose commits are answered in the other order are published in that of their aggregate", async () => {
  const broker = createBroker();
  const [busy, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let isClosed = false;
  const { commit } = await startFreshRelay(async (facts) => {
    if (isClosed) {
      busy.resolve();
      await gate.promise;
    }
    return broker.publish(facts);
  });
  const id = uuidv7();
  isClosed = true;
  await commit(exampleFact());
  await busy.promise; // so that the next two wait together
  const younger = Promise.withResolvers<void>();
  pool.once("acquire", (client) => {
    const query = client.query.bind(client) as (...values: unknown[]) => Promise<unknown>;
    const late = async (...values: unknown[]) => {
      const answer = await query(...values);
      if (values[0] === "commit") await younger.promise;
      return answer;
    };
    Object.assign(client, { query: late });
  });
  const older = commit(exampleFact({ aggregateId: id, sequence: 1 }));
  await eventually(async () => expect((await pool.query("select from outbox")).rowCount).toBe(2));
  await commit(exampleFact({ aggregateId: id, sequence: 2 }));
  younger.resolve();
  await older;
  gate.resolve();
  await eventually(isListEmpty);
  expect(sequencesOf(broker.stored, id)).toEqual([1, 2]);
});

/** A relay that has read the list once, and a way to write facts in a transaction. */
async function startFreshRelay(publish: (facts: readonly StoredFact[]) => Promise<readonly boolean[]>) {
  startRelay({ pool, context: "job", publish, log, app: loops });
  const commit = async (...facts: Parameters<typeof appendFacts>[1]) => {
    await inTransaction(pool, (db) => appendFacts(db, facts));
  };
  await commit(exampleFact());
  await eventually(isListEmpty);
  return { commit };
}

test("what a transaction of this process commits is published as it was written, without being read back", async () => {
  const broker = createBroker();
  const { commit } = await startFreshRelay(broker.publish);
  const statements: string[] = [];
  pool.on("acquire", (client) => {
    const query = client.query.bind(client) as (...values: unknown[]) => unknown;
    Object.assign(client, {
      query: (...values: unknown[]) => {
        const [first] = values;
        statements.push(typeof first === "string" ? first : ((first as { name?: string }).name ?? ""));
        return query(...values);
      },
    });
  });
  const id = uuidv7();
  for (const sequence of oneTo(5)) await commit(exampleFact({ aggregateId: id, sequence }));
  await eventually(isListEmpty);
  expect(sequencesOf(broker.stored, id)).toEqual(oneTo(5));
  const { rows } = await pool.query(
    "select time, data::text as json from event where aggregate_id = $1 order by sequence",
    [id],
  );
  const published = broker.stored.filter(({ aggregateId }) => aggregateId === id);
  expect(published.map(({ time, json, context }) => ({ time, json, context }))).toEqual(
    rows.map((row) => ({ ...row, context: "job" })),
  );
  expect(statements).toContain("relay_remove");
  expect(statements).not.toContain("relay_list");
});

test("a fact from memory does not overtake an older one that another process has listed", async () => {
  const broker = createBroker();
  const { commit } = await startFreshRelay(broker.publish);
  const other = openPool({ url: database.url, schema: "job", log });
  const ids = Array.from({ length: 20 }, () => uuidv7());
  for (const aggregateId of ids) {
    await inTransaction(other, (db) => appendFacts(db, [exampleFact({ aggregateId })]));
    await commit(exampleFact({ aggregateId, sequence: 2 }));
  }
  await other.end();
  await eventually(isListEmpty);
  // What is committed while the list is read may go out twice, and the broker drops the second.
  for (const id of ids) expect([...new Set(sequencesOf(broker.stored, id))]).toEqual([1, 2]);
});

test("a publisher that fails or throws under way loses nothing of what was in memory", async () => {
  let calls = 0;
  const broker = createBroker();
  const { commit } = await startFreshRelay(async (facts) => {
    calls += 1;
    if (calls % 4 === 2) return facts.map(() => false);
    if (calls % 4 === 3) throw new Error("broker is away");
    return broker.publish(facts);
  });
  const id = uuidv7();
  for (const sequence of oneTo(30)) await commit(exampleFact({ aggregateId: id, sequence }));
  await eventually(isListEmpty, 30_000);
  expect([...new Set(sequencesOf(broker.stored, id))]).toEqual(oneTo(30));
});

test("a transaction that is rolled back publishes nothing", async () => {
  const broker = createBroker();
  const { commit } = await startFreshRelay(broker.publish);
  const lost = exampleFact();
  const undone = inTransaction(pool, async (db) => {
    await appendFacts(db, [lost]);
    throw new Error("changed its mind");
  });
  await expect(undone).rejects.toThrow("changed its mind");
  const kept = exampleFact();
  await commit(kept);
  await eventually(() => expect(broker.stored.at(-1)?.aggregateId).toBe(kept.aggregateId));
  expect(sequencesOf(broker.stored, lost.aggregateId)).toEqual([]);
});

test("many facts go in several passes without waiting for the poll", async () => {
  const broker = createBroker();
  const ids = Array.from({ length: 300 }, () => uuidv7());
  await appendFacts(
    pool,
    ids.flatMap((id) => exampleFacts(id, 5)),
  );
  startRelay({ pool, context: "job", publish: broker.publish, log, app: loops });
  await eventually(isListEmpty, 4_000);
  for (const id of ids) expect(sequencesOf(broker.stored, id)).toEqual([1, 2, 3, 4, 5]);
});

test("what is not acknowledged stays listed and goes out later, with nothing lost or out of order", async () => {
  let calls = 0;
  const broker = createBroker(() => ![2, 7, 20, 21].includes(++calls));
  const ids = [uuidv7(), uuidv7(), uuidv7()];
  await appendFacts(
    pool,
    ids.flatMap((id) => exampleFacts(id, 10)),
  );
  startRelay({ pool, context: "job", publish: broker.publish, log, app: loops });
  await eventually(isListEmpty, 30_000);
  for (const id of ids) expect(sequencesOf(broker.stored, id)).toEqual(oneTo(10));
});

test("a publisher that throws loses nothing", async () => {
  let isDown = true;
  const broker = createBroker();
  const publish = async (facts: readonly StoredFact[]) => {
    if (isDown) throw new Error("broker is away");
    return broker.publish(facts);
  };
  await appendFacts(pool, exampleFacts(uuidv7(), 3));
  await expect(relayOnce(pool, publish)).rejects.toThrow("broker is away");
  isDown = false;
  expect(await relayOnce(pool, publish)).toEqual({ state: "done", count: 3 });
  await isListEmpty();
});

test("two relays on one schema neither lose nor overtake anything", async () => {
  const broker = createBroker();
  const relays = [1, 2].map(() => startRelay({ pool, context: "job", publish: broker.publish, log, app: loops }));
  const ids = Array.from({ length: 8 }, () => uuidv7());
  await Promise.all(
    ids.map(async (aggregateId, at) => {
      for (let sequence = 1; sequence <= 50; sequence++) {
        await appendFacts(pool, [exampleFact({ aggregateId, sequence })]);
        relays[(at + sequence) % 2]?.wake();
      }
    }),
  );
  await eventually(isListEmpty);
  for (const id of ids) expect(sequencesOf(broker.stored, id)).toEqual(oneTo(50));
});

test("a second relay does not begin while the first is at work", async () => {
  await appendFacts(pool, [exampleFact()]);
  const second: unknown[] = [];
  await relayOnce(pool, async () => {
    second.push(await relayOnce(pool, () => expect.unreachable()));
    return [true];
  });
  expect(second).toEqual([{ state: "busy", count: 0 }]);
});

test("facts listed again go out before the younger ones of their aggregates", async () => {
  const broker = createBroker();
  const id = uuidv7();
  await appendFacts(pool, exampleFacts(id, 4));
  await relayOnce(pool, broker.publish);
  broker.stored.length = 0;
  await appendFacts(pool, exampleFacts(id, 2, 5));
  expect(await requeueFacts(pool, null)).toBe(4);
  await relayOnce(pool, broker.publish);
  expect(sequencesOf(broker.stored, id)).toEqual(oneTo(6));
});

test("facts listed again go out at once, before what waits in memory of their aggregates", async () => {
  let isStored = true;
  const broker = createBroker();
  const { commit } = await startFreshRelay((facts) =>
    isStored ? broker.publish(facts) : Promise.reject(new Error("away")),
  );
  const id = uuidv7();
  await commit(...exampleFacts(id, 3));
  await eventually(isListEmpty);
  isStored = false; // the store is lost, and with it what was published
  await commit(exampleFact({ aggregateId: id, sequence: 4 }));
  expect(await requeueFacts(pool, null)).toBeGreaterThan(2);
  broker.stored.length = 0;
  isStored = true;
  await eventually(isListEmpty, 5_000);
  expect([...new Set(sequencesOf(broker.stored, id))]).toEqual(oneTo(4));
});

test("connections that are cut at any moment do not stop the relay, and lose nothing", async () => {
  const broker = createBroker();
  const relay = startRelay({ pool, context: "job", publish: broker.publish, log, app: loops });
  const id = uuidv7();
  for (let sequence = 1; sequence <= 40; sequence++) {
    await eventually(() => appendFacts(pool, [exampleFact({ aggregateId: id, sequence })]).catch(isTaken));
    relay.wake();
    if (sequence % 5 === 0) {
      await queryOnce(
        database.adminUrl,
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'capstan_job' and datname = current_database()",
      );
    }
  }
  await eventually(async () => {
    relay.wake();
    await isListEmpty();
  });
  // A pass that was cut after publishing publishes again; what came first of each is in order.
  expect([...new Set(sequencesOf(broker.stored, id))]).toEqual(oneTo(40));
});

/** The statement was cut after its commit: then the same again is refused as taken, and it is there. */
function isTaken(error: unknown): void {
  if ((error as { code?: string }).code !== "23505") throw error;
}

test("a broker that answers and stores nothing makes the service unready, until it stores again", async () => {
  let isStoring = true;
  const broker = createBroker(() => isStoring);
  const checks = new Map<string, () => Promise<void>>();
  const app: Loops = { ...loops, addCheck: (name, check) => void checks.set(name, check) };
  const relay = startRelay({ pool, context: "job", publish: broker.publish, log, app });
  const check = async () => await checks.get("stream")?.();
  const append = async () => {
    await appendFacts(pool, [exampleFact({ aggregateId: uuidv7() })]);
    relay.wake();
  };
  expect([...checks.keys()]).toEqual(["stream"]);
  await append();
  await eventually(isListEmpty);
  isStoring = false;
  await append();
  await expect(check()).resolves.toBeUndefined();
  await eventually(() => expect(check()).rejects.toMatchObject({ code: "FACTS_NOT_STORED" }), 40_000);
  isStoring = true;
  await eventually(() => expect(check()).resolves.toBeUndefined(), 40_000);
  await eventually(isListEmpty);
});

test("an idle relay costs one small statement every ten seconds", async () => {
  const passes: { intervalMs: number; once: () => Promise<boolean> }[] = [];
  const app: Loops = {
    addCheck: () => {},
    startLoop: ({ intervalMs, once }) => {
      passes.push({ intervalMs, once: () => once(new AbortController().signal) });
      return { wake: () => {}, stop: async () => {} };
    },
  };
  const statements: unknown[] = [];
  pool.on("acquire", () => statements.push(1));
  startRelay({ pool, context: "job", publish: createBroker().publish, log, app });
  await passes[0]?.once(); // the first pass looks for what an earlier process left
  statements.length = 0;
  for (let pass = 1; pass <= 5; pass++) expect(await passes[0]?.once()).toBe(false);
  expect(statements).toHaveLength(5);
  expect(passes[0]?.intervalMs).toBe(10_000);
});
