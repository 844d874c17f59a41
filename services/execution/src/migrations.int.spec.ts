import { migrate, migrationStatus } from "@capstan/postgres";
import { expect, test } from "vitest";
import { createTestDatabase, queryOnce } from "../../../test/support/database.ts";

test("every migration goes up, down and up again", async () => {
  const database = await createTestDatabase("execution");
  const options = { url: database.url, schema: "execution", directory: new URL("../migrations/", import.meta.url) };
  const tables = () =>
    queryOnce(database.adminUrl, "select tablename from pg_tables where schemaname = 'execution' order by tablename");
  await migrate(options);
  const before = await tables();
  await migrate({ ...options, direction: "reset" });
  expect((await migrationStatus(options)).some(({ applied }) => applied)).toBe(false);
  await migrate(options);
  expect(await tables()).toEqual(before);
  await database.drop();
});
