/** The look of a service at its own schema, with the role that the service has. */
import { migrate, openPool, type Pool } from "@capstan/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, createTestLog, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { createCheckup, namesFor } from "./checkup.ts";
import { schemas } from "./invariant.ts";

let database: TestDatabase;
let pools: readonly { readonly schema: (typeof schemas)[number]; readonly pool: Pool }[];

beforeAll(async () => {
  database = await createTestDatabase(...schemas);
  for (const schema of schemas) {
    const directory = new URL(`../../../services/${schema}/migrations/`, import.meta.url);
    await migrate({ url: database.urlOf(schema), schema, directory });
  }
  pools = schemas.map((schema) => ({
    schema,
    pool: openPool({ url: database.urlOf(schema), schema, log: createTestLog() }),
  }));
});

afterAll(async () => {
  await Promise.all(pools.map(({ pool }) => pool.end()));
  await database.drop();
});

test("every service can examine its own with the rights that it has, and says nothing when it is well", async () => {
  for (const { schema, pool } of pools) {
    const log = createTestLog();
    expect(namesFor(schema)).toContain("facts-are-published");
    await createCheckup({ pool, schema, log, againMs: 0 }).once(new AbortController().signal);
    expect(log.lines).toEqual([]);
  }
});

test("what is found twice is logged with what to do, and answered to whoever asks", async () => {
  const { schema, pool } = pools[0] ?? { schema: "job", pool: undefined };
  if (pool === undefined) throw new Error("there is no pool");
  await queryOnce(
    database.adminUrl,
    `insert into job.outbox (aggregate_ids, sequences) values (array[gen_random_uuid()], '{1}')`,
  );
  const log = createTestLog();
  const checkup = createCheckup({ pool, schema, log, againMs: 0 });
  expect(checkup.last()).toEqual({ service: "job", time: undefined, examined: 0, violations: [], unexamined: [] });
  await checkup.once(new AbortController().signal);
  expect(checkup.last()).toMatchObject({
    examined: namesFor(schema).length,
    violations: [{ invariant: "outbox-lists-facts", severity: "SEVERITY_ERROR", count: 1, hasMore: false }],
    unexamined: [],
  });
  expect(checkup.last().violations[0]?.refs).toHaveLength(1);
  expect(log.lines).toMatchObject([
    { level: "warn", fields: { invariant: "outbox-lists-facts", count: 1 }, message: "an invariant does not hold" },
  ]);
  await queryOnce(database.adminUrl, "delete from job.outbox");
});
