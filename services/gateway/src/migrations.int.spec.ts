import { migrate, migrationStatus } from "@capstan/postgres";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, queryOnce } from "../../../test/support/database.ts";

test("every migration goes up, down and up again", async () => {
  const database = await createTestDatabase("gateway");
  onTestFinished(() => database.drop());
  const options = { url: database.url, schema: "gateway", directory: new URL("../migrations/", import.meta.url) };
  const columns = () =>
    queryOnce(
      database.adminUrl,
      `select table_name, column_name, data_type from information_schema.columns
        where table_schema = 'gateway' order by table_name, column_name`,
    );
  await migrate(options);
  const before = await columns();
  expect(before.some((row) => row["table_name"] === "session")).toBe(true);
  await migrate({ ...options, direction: "reset" });
  expect((await migrationStatus(options)).some(({ applied }) => applied)).toBe(false);
  await migrate(options);
  expect(await columns()).toEqual(before);
});
