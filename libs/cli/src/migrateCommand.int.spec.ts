/** Migrations by command, on a database of this file. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";

const cli = fileURLToPath(new URL("../bin/capstan.js", import.meta.url));
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase("job");
});

afterAll(() => database.drop());

interface Row {
  readonly schema: string;
  readonly migration: string;
  readonly applied?: boolean;
}

async function migrate(...args: readonly string[]): Promise<readonly Row[]> {
  const env = { ...bareEnv, CAPSTAN_DATABASE_URL: database.urlOf("job") };
  const command = [cli, "migrate", ...args, "--service", "job", "-o", "json"];
  const { stdout } = await promisify(execFile)(process.execPath, command, { env });
  return JSON.parse(stdout);
}

async function pending(): Promise<number> {
  return (await migrate("status")).filter(({ applied }) => !applied).length;
}

test("up applies all, once; down undoes the last; reset undoes all and must be confirmed", async () => {
  const applied = await migrate("up");
  expect(applied.length).toBeGreaterThan(1);
  expect(await migrate("up")).toEqual([]);
  expect(await pending()).toBe(0);
  expect(await migrate("down")).toEqual([applied.at(-1)]);
  expect(await pending()).toBe(1);
  await expect(migrate("reset")).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
  await migrate("reset", "--yes");
  expect(await pending()).toBe(applied.length);
  expect(
    await queryOnce(database.adminUrl, "select from pg_tables where schemaname = 'job' and tablename = 'job'"),
  ).toEqual([]);
});

test("an unknown service is refused with those that there are", async () => {
  const failure = {
    code: 2,
    stderr: expect.stringContaining('no service "nothing" has migrations; there are execution, gateway, job'),
  };
  await expect(migrate("up", "--service", "nothing")).rejects.toMatchObject(failure);
});
