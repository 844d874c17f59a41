/** The checker of the chaos test finds what it is for: each rule is broken once, in a transaction that is rolled back, and seen to be. */
import { migrate } from "@capstan/postgres";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { ids, writeWorld } from "../support/invariantWorld.ts";
import { serviceNames } from "../support/serviceProcess.ts";
import { check, ruleNames, rules } from "./checker.ts";
import { damages } from "./damages.ts";
import type { Evidence } from "./evidence.ts";
import type { StreamMessage } from "./streams.ts";

let database: TestDatabase;
let client: Client;
let world: Evidence;

beforeAll(async () => {
  database = await createTestDatabase(...serviceNames);
  for (const schema of serviceNames) {
    const directory = new URL(`../../services/${schema}/migrations/`, import.meta.url);
    await migrate({ url: database.urlOf(schema), schema, directory });
  }
  client = new Client({ connectionString: database.adminUrl });
  await client.connect();
  const { broker } = await writeWorld(client);
  world = evidenceOf(broker?.facts ?? []);
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

/** What a client, the workloads and the streams had to say of that world. */
function evidenceOf(messages: readonly StreamMessage[]): Evidence {
  const effect = { executionId: ids.second, jobId: ids.job, attempt: 2, by: "process" } as const;
  const ofJob = messages.filter(({ aggregateId }) => aggregateId === ids.job);
  const consumer = { delivered: 5, pending: 0, inHand: 0, last: 6 };
  return {
    history: {
      submits: [{ key: "key", kind: "example", outcome: "ok", jobId: ids.job, code: "", timeMs: 0 }],
      cancels: [],
      missing: [],
      sights: ofJob.map(({ sequence, type }, place) => ({
        ...{ observer: "one", jobId: ids.job, how: "watch", place, sequence, type },
      })),
    } as Evidence["history"],
    effects: [
      { ...effect, event: "begin", timeMs: 11 },
      { ...effect, event: "end", timeMs: 12 },
    ],
    streams: {
      messages,
      consumers: ["CAPSTAN_JOB/orchestrator-job", "CAPSTAN_EXECUTION/orchestrator-execution"].map((name) => ({
        ...consumer,
        name,
      })),
    },
    containerEvents: [],
    containers: [],
    processes: [{ executionId: ids.nobody, pid: 1 }],
    memory: [{ label: "job-1", warmMib: 100, quietMib: 120 }],
  };
}

test("a past in which everything is in order breaks no rule", async () => {
  expect(await check(client, world)).toEqual([]);
});

test.each(ruleNames.map((name) => [name, rules[name].says] as const))("%s: it is found that %s", async (name) => {
  const { sql = "", seen = (before: Evidence) => before } = damages[name];
  await client.query("begin");
  try {
    await client.query(sql);
    expect((await check(client, seen(world), [name])).map(({ rule }) => rule)).toEqual([name]);
  } finally {
    await client.query("rollback");
  }
});
