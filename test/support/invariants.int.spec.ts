/** The invariants find what they are for: each is broken once, in a transaction that is rolled back, and seen to be. */
import {
  examine,
  type Finding,
  type InvariantName,
  invariantNames,
  invariants,
  type Observed,
  repair,
} from "@capstan/doctor";
import { migrate } from "@capstan/postgres";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { damages } from "./invariantDamages.ts";
import { findViolations } from "./invariants.ts";
import { ids, writeWorld } from "./invariantWorld.ts";
import { serviceNames } from "./serviceProcess.ts";

let database: TestDatabase;
let client: Client;
let world: Observed;

beforeAll(async () => {
  database = await createTestDatabase(...serviceNames);
  for (const schema of serviceNames) {
    const directory = new URL(`../../services/${schema}/migrations/`, import.meta.url);
    await migrate({ url: database.urlOf(schema), schema, directory });
  }
  client = new Client({ connectionString: database.adminUrl });
  await client.connect();
  world = await writeWorld(client);
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

test("a past in which everything is in order breaks no rule", async () => {
  expect(await findViolations(client, world)).toEqual([]);
});

/** Damages the world, and has that undone. */
async function withDamage(name: InvariantName, work: (seen: Observed) => Promise<void>): Promise<void> {
  const { sql = "", seen = (before: Observed) => before } = damages[name];
  await client.query("begin");
  try {
    await client.query(sql);
    await work(seen(world));
  } finally {
    await client.query("rollback");
  }
}

async function find(name: InvariantName, observed: Observed): Promise<readonly Finding[]> {
  const run = async (statement: { text: string; values: string[] }) =>
    (await client.query<Partial<Finding>>(statement)).rows;
  const [examination] = await examine(run, { names: [name], observed, settleMs: 60_000, limit: 10 });
  return examination?.findings ?? [];
}

test.each(invariantNames.map((name) => [name, invariants[name].finding] as const))("%s: it is found that %s", (name) =>
  withDamage(name, async (seen) => {
    expect(await find(name, seen)).not.toEqual([]);
  }));

const repaired = invariantNames.filter((name) => invariants[name].repair !== undefined);

/** What such a repair has set going shows when the service that does the rest runs. */
const setGoing: Partial<Record<InvariantName, string>> = {
  "ready-steps-have-a-saga": `select from job.outbox where '${ids.job}' = any(aggregate_ids)`,
  "sagas-end-with-their-job": `select from orchestrator.saga where id = '${ids.second}' and wakeup_time <= clock_timestamp()`,
  "parents-hear-of-ends": `select from job.errand where child_job_id = '${ids.workflow}'`,
  "sagas-hear-of-ends": `select from orchestrator.saga where id = '${ids.second}' and wakeup_time <= clock_timestamp()`,
  "reservations-end-with-their-saga": `select from provider.reservation where id = '${ids.second}' and expire_time <= clock_timestamp()`,
};

test.each(repaired)("%s is repaired, as often as one likes", (name) =>
  withDamage(name, async (seen) => {
    const found = await find(name, seen);
    await repair(client, name, found, "test");
    await repair(client, name, found, "test");
    const wanted = setGoing[name];
    if (wanted === undefined) expect(await find(name, seen)).toEqual([]);
    else expect((await client.query(wanted)).rowCount).toBeGreaterThan(0);
  }));

test("each says what it means and what to do, and gives its findings a key where it has a repair", () => {
  for (const name of invariantNames) {
    const { finding, meaning, advice, repair: how, sql } = invariants[name];
    expect([finding, meaning, advice].every((text) => text.length > 10)).toBe(true);
    expect(sql).toMatch(/as ref/);
    if (how !== undefined) expect(sql).toMatch(/as key/);
  }
});
