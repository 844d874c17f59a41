import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, noMigrations, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { migrate } from "./migrate.ts";
import { ensureRoles } from "./roles.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase("job", "provider");
  for (const schema of ["job", "provider"]) {
    await migrate({ url: database.urlOf(schema), schema, directory: noMigrations });
  }
});

afterAll(() => database.drop());

test.each([
  "select * from provider.event",
  "insert into provider.outbox (aggregate_ids, sequences) values (array[gen_random_uuid()], array[1])",
  "delete from provider.event",
  "create table provider.mine (id int)",
  "create table public.mine (id int)",
  "create schema mine",
  "set role capstan_provider",
  "alter role capstan_provider password 'x'",
  "select pg_read_file('/etc/passwd')",
])("a service's role is refused: %s", async (statement) => {
  await expect(queryOnce(database.urlOf("job"), statement)).rejects.toMatchObject({ code: "42501" });
});

test("a service's role works in its own schema without naming it, with the limits of a service", async () => {
  const rows = await queryOnce(
    database.urlOf("job"),
    "select current_setting('statement_timeout') as timeout, (select count(*)::int from event) as events",
  );
  expect(rows).toEqual([{ timeout: "10s", events: 0 }]);
});

test("ensuring the roles again, by several processes at once, changes nothing", async () => {
  const services = ["job", "provider"].map((schema) => ({ schema, password: "test-password" }));
  await Promise.all([1, 2, 3, 4].map(() => ensureRoles({ adminUrl: database.adminUrl, services })));
  expect(await queryOnce(database.urlOf("job"), "select count(*)::int as events from event")).toEqual([{ events: 0 }]);
});
