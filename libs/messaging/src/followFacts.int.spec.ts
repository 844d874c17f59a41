/** Facts as somebody sees them who only looks on, over a real nats-server, while that is broken on purpose. */
import { appendFacts, openPool, type Pool, type Relay, startRelay, uuidv7 } from "@capstan/postgres";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { exampleFacts } from "../../../test/support/facts.ts";
import { createTestLoops } from "../../../test/support/loops.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { connectNats } from "./connection.ts";
import { type FactFollower, followFacts, openFacts } from "./followFacts.ts";
import { createPublisher } from "./publisher.ts";
import type { StreamedFact } from "./streamedFact.ts";

let nats: TestNats;
let database: TestDatabase;
let pool: Pool;
let nc: NatsConnection;
let loops: ReturnType<typeof createTestLoops>;
let relay: Relay;
let followers: FactFollower[];
const log = createTestLog();

beforeEach(async () => {
  [nats, database] = await Promise.all([startTestNats(), createMigratedDatabase("job")]);
  pool = openPool({ url: database.url, schema: "job", log });
  nc = await connectNats({ url: nats.url, name: "test", log });
  loops = createTestLoops();
  const publisher = createPublisher({ nc, context: "job", db: pool, log });
  relay = startRelay({ pool, context: "job", publish: publisher, log, app: loops });
  followers = [];
});

afterEach(async () => {
  await Promise.all(followers.map((follower) => follower.stop()));
  await loops.stop();
  await nc.close();
  await pool.end();
  await Promise.all([database.drop(), nats.release()]);
});

async function publish(id: string, count: number, first = 1): Promise<void> {
  await appendFacts(pool, exampleFacts(id, count, first));
  relay.wake();
}

function follow(newest = 0) {
  const seen: StreamedFact[] = [];
  const openings: string[] = [];
  const follower = followFacts({
    nc,
    context: "job",
    newest,
    // That they were published again is told as well, after them.
    onFact: (fact) => {
      if (fact.noun !== "repair") seen.push(fact);
    },
    onOpen: ({ since }) => openings.push(since),
    onLost: () => openings.push("lost"),
    log,
  });
  followers.push(follower);
  return { seen, openings, follower };
}

const sequencesOf = (facts: readonly StreamedFact[]) => facts.map((fact) => Number(fact.attribute("sequence")));
const oneTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

test("who looks on sees the newest facts and then each as it comes, and so does everybody else", async () => {
  const id = uuidv7();
  await publish(id, 10);
  await eventually(async () => {
    const { state } = await (await jetstreamManager(nc)).streams.info("CAPSTAN_JOB");
    expect(state.messages).toBe(10);
  });
  const views = [follow(3), follow(100), follow()];
  await eventually(() => expect(views.map(({ openings }) => openings)).toEqual([["same"], ["same"], ["same"]]));
  await publish(id, 5, 11);
  const expected = [oneTo(15).slice(7), oneTo(15), oneTo(15).slice(10)];
  await eventually(() => expect(views.map(({ seen }) => sequencesOf(seen))).toEqual(expected));
  const [fact] = views[0]?.seen ?? [];
  expect(fact).toMatchObject({ tenant: "default", context: "job", noun: "job", event: "submitted", aggregateId: id });
  expect(fact?.attribute("type")).toBe("capstan.job.v1.job.submitted");
  expect(JSON.parse(fact?.json ?? "")).toMatchObject({ note: "naïve — ✓" });
});

test("after the server was killed it goes on where it stood, and nothing is seen twice", async () => {
  const { seen, openings } = follow();
  const id = uuidv7();
  await eventually(() => expect(openings).toEqual(["same"]));
  await publish(id, 20);
  await eventually(() => expect(seen).toHaveLength(20));
  await nats.kill();
  await eventually(() => expect(openings).toEqual(["same", "lost"]));
  await publish(id, 20, 21);
  await nats.restart();
  await eventually(() => expect(sequencesOf(seen)).toEqual(oneTo(40)), 30_000);
  expect(openings).toEqual(["same", "lost", "same"]);
});

test("a store that was wiped is told, and what it held comes again from the first fact on", async () => {
  const { seen, openings } = follow();
  const id = uuidv7();
  await eventually(() => expect(openings).toEqual(["same"]));
  await publish(id, 20);
  await eventually(() => expect(seen).toHaveLength(20));
  await nats.wipe();
  await publish(id, 5, 21);
  await nats.restart();
  await eventually(() => expect(sequencesOf(seen)).toEqual([...oneTo(20), ...oneTo(25)]), 30_000);
  expect(openings).toEqual(["same", "lost", "rebuilt"]);
});

test("a stream that is deleted under way is read anew when it is there again", async () => {
  const { seen, openings } = follow();
  const id = uuidv7();
  await eventually(() => expect(openings).toEqual(["same"]));
  await publish(id, 3);
  await eventually(() => expect(seen).toHaveLength(3));
  await (await jetstreamManager(nc)).streams.delete("CAPSTAN_JOB");
  await publish(id, 2, 4);
  await eventually(() => expect(sequencesOf(seen)).toEqual([...oneTo(3), ...oneTo(5)]), 30_000);
  expect(openings).toEqual(["same", "lost", "rebuilt"]);
});

test("whoever was away reads on after the fact it saw last, at its own pace, and leaves nothing behind", async () => {
  const { seen, openings } = follow();
  const id = uuidv7();
  await eventually(() => expect(openings).toEqual(["same"]));
  await publish(id, 1_000);
  await eventually(() => expect(seen).toHaveLength(1_000));
  const place = seen[399]?.place;
  if (place === undefined) throw new Error("it was seen");
  const reading = new AbortController();
  const read: StreamedFact[] = [];
  const { facts, since } = await openFacts({ nc, context: "job", signal: reading.signal }, place);
  for await (const fact of facts) {
    read.push(fact);
    if (read.length === 600) await publish(id, 1, 1_001);
    if (read.length === 601) reading.abort();
  }
  expect(since).toBe("same");
  expect(sequencesOf(read)).toEqual(oneTo(1_001).slice(400));
  await Promise.all(followers.map((follower) => follower.stop()));
  await eventually(async () => {
    const consumers = await (await jetstreamManager(nc)).consumers.list("CAPSTAN_JOB").next();
    expect(consumers).toEqual([]);
  });
});

test("it can be stopped while the server is away", async () => {
  const { follower, openings } = follow();
  await eventually(() => expect(openings).toEqual(["same"]));
  await nats.kill();
  await eventually(() => expect(openings).toEqual(["same", "lost"]));
  await follower.stop();
});
