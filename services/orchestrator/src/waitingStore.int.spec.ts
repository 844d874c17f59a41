import { openPool, type Pool } from "@capstan/postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { countRowsRead } from "../../../test/support/rowsRead.ts";
import { type LongLivedPage, listPlaced, listWaiting } from "./reconcileStore.ts";
import { claimSagas, readHeads, readHeadsOf, type Window } from "./waitingStore.ts";

let database: TestDatabase;
let pool: Pool;

/** 200,000 that wait: two tenants, three queues each, 50 keys each, and one list that is far longer than all others. */
const many = `
  insert into saga (id, tenant, job_id, job_name, step, attempt, priority, spec, ready_time, placement_key, queue, concurrency_key,
                    order_time, stage, reason, wakeup_time)
  select gen_random_uuid(), 'tenant-' || n % 2, gen_random_uuid(), 'a job', 'main', 1, 0, '{}', clock_timestamp(), 'any process',
         'queue-' || n % 3, case when n > 20000 then 'key-0' else 'key-' || n / 6 % 50 end, clock_timestamp() - n * interval '1 ms',
         'WAITING', 'QUEUED', clock_timestamp()
    from generate_series($1::int, $1::int + 9999) n`;

beforeAll(async () => {
  database = await createMigratedDatabase("orchestrator", new URL("../migrations/", import.meta.url));
  pool = openPool({ url: database.url, schema: "orchestrator", log: createTestLog() });
  // In portions, each of which a busy machine does within the statement timeout.
  for (let from = 1; from <= 200_000; from += 10_000) await pool.query({ text: many, values: [from] });
  await pool.query("vacuum analyze saga");
}, 120_000);

afterAll(async () => {
  await pool.end();
  await database.drop();
});

const window: Window = {
  queues: 64,
  lanesPerQueue: 10,
  headsPerLane: 2,
  afterQueue: { tenant: "", queue: "" },
  afterLanes: [],
};

describe("with 200,000 that wait", () => {
  test("a look reads as many rows as it looks at, not as many as wait", async () => {
    const read = await countRowsRead(pool, "saga", async (db) => {
      const lanes = await readHeads(db, window);
      expect(lanes).toHaveLength(60);
      expect(lanes.every(({ heads }) => heads.length === 2)).toBe(true);
    });
    // Two heads of each list and its own name, and the names of the queues.
    expect(read).toBeLessThanOrEqual(60 * 3 + 6 + 12);
  });

  test("its plan enters the index of the waiting lists at each step and reads nothing in sequence", async () => {
    const texts: string[] = [];
    const spy = { query: (statement: { text: string; values: unknown[] }) => explain(statement) };
    async function explain({ text, values }: { text: string; values: unknown[] }) {
      const { rows } = await pool.query({ text: `explain (analyze, format text) ${text}`, values });
      texts.push(rows.map((row) => String(row["QUERY PLAN"])).join("\n"));
      return { rows: [] };
    }
    await readHeads(spy as never, window);
    const [plan = ""] = texts;
    expect(plan).toContain("using saga_waiting on saga");
    expect(plan).not.toContain("Seq Scan on saga");
    expect(plan).not.toContain("Sort Key: saga");
    // One entry for each queue, each list, and the heads of each list.
    const scans = plan.match(/using saga_waiting on saga/g) ?? [];
    expect(scans).toHaveLength(5);
  });

  test("the next look goes on where the last one stopped, and comes to every list", async () => {
    const seen = new Set<string>();
    let afterLanes: Window["afterLanes"] = [];
    for (let look = 0; look < 5; look += 1) {
      const lanes = await readHeads(pool, { ...window, afterLanes });
      for (const { tenant, queue, key } of lanes) seen.add(`${tenant}/${queue}/${key}`);
      afterLanes = [...Map.groupBy(lanes, ({ tenant, queue }) => `${tenant}/${queue}`).values()].flatMap(
        (some) => some.at(-1) ?? [],
      );
    }
    expect(seen.size).toBe(2 * 3 * 50);
  });

  test("a reconciler comes to every one of them page by page, and reads no more than a page at a time", async () => {
    const all = new Set<string>();
    let after: readonly string[] | null = [];
    for (let pages = 0; after !== null; pages += 1) {
      expect(pages).toBeLessThan(5);
      const from: readonly string[] = after;
      let page: LongLivedPage | undefined;
      const read = await countRowsRead(pool, "saga", async (db) => {
        page = await listWaiting(db, 0, from, 50_000);
      });
      // Those of the place where it goes on are read, and passed over.
      expect(read).toBeLessThanOrEqual(50_001);
      for (const { id } of page?.sagas ?? []) all.add(id);
      after = page?.last ?? null;
    }
    expect(all.size).toBe(200_000);
  }, 60_000);

  test("what is claimed is nobody else's head, and is claimed once", async () => {
    const lane = { tenant: "tenant-0", queue: "queue-0", key: "key-0", placementKey: "any process" };
    const [before] = await readHeadsOf(pool, [lane], 20);
    const ids = (before?.heads ?? []).map(({ id }) => id);
    const claims = await Promise.all([claimSagas(pool, ids), claimSagas(pool, ids)]);
    expect(
      claims
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([...ids].sort());
    const [after] = await readHeadsOf(pool, [lane], 20);
    expect(after?.heads.some(({ id }) => ids.includes(id))).toBe(false);
  });
});

test("a reconciler comes to every saga that is placed, and to all that wait in one place of a list", async () => {
  await pool.query("delete from saga");
  await pool.query(
    `insert into saga (id, tenant, job_id, job_name, step, attempt, priority, spec, placement_key, order_time, deadline_time, stage, placed,
                       reason, wakeup_time, stage_time)
     select gen_random_uuid(), 'default', gen_random_uuid(), 'a job', 'main', 1, 0, '{}', 'any', '2026-01-01',
            case when n % 3 > 0 then '2026-02-01'::timestamptz + n % 2 * interval '1 day' end,
            case when n % 4 = 0 then 'STARTED' when n % 4 = 1 then 'RESERVED' else 'WAITING' end,
            case when n % 4 < 2 then '{}'::json end, 'QUEUED', clock_timestamp(), clock_timestamp() - n * interval '1 s'
       from generate_series(1, 40) n`,
  );
  for (const [list, stages] of [
    [listPlaced, ["RESERVED", "STARTED"]],
    [listWaiting, ["WAITING"]],
  ] as const) {
    const { rows } = await pool.query<{ id: string }>({
      text: "select id from saga where stage = any($1::text[]) and stage_time < clock_timestamp() - interval '5 s' order by id",
      values: [stages],
    });
    const found: string[] = [];
    for (let after: readonly string[] | null = []; after !== null; ) {
      const page: LongLivedPage = await list(pool, 5_000, after, 3);
      found.push(...page.sagas.map(({ id }) => id));
      after = page.last;
    }
    expect(found.sort()).toEqual(rows.map(({ id }) => id));
  }
});
