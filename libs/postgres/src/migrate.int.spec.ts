import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { migrate, migrationStatus } from "./migrate.ts";

let database: TestDatabase;
let directory: URL;

beforeAll(async () => {
  database = await createTestDatabase("job", "provider");
  const path = await mkdtemp(join(tmpdir(), "capstan-migrations-"));
  directory = pathToFileURL(path);
  await writeFile(
    join(path, "001_create_job.up.sql"),
    "create table job (id int, tags jsonb);\nselect '{}'::jsonb ? 'a';",
  );
  await writeFile(join(path, "001_create_job.down.sql"), "drop table job;");
  await writeFile(join(path, "002_add_job_name.up.sql"), "alter table job add name text;");
  await writeFile(join(path, "002_add_job_name.down.sql"), "alter table job drop name;");
});

afterAll(async () => {
  await rm(directory, { recursive: true });
  await database.drop();
});

const all = [
  "base/001_create_event_log",
  "base/002_list_facts_together",
  "base/003_count_tries",
  "001_create_job",
  "002_add_job_name",
];
const options = () => ({ url: database.url, schema: "job", directory });

async function tables(): Promise<unknown[]> {
  const rows = await queryOnce(
    database.adminUrl,
    "select table_name from information_schema.tables where table_schema = 'job' and table_name not like 'knex%' order by 1",
  );
  return rows.map((row) => row["table_name"]);
}

test("migrations go up, down and up again, the base ones first", async () => {
  expect(await migrate(options())).toEqual(all);
  const made = ["broker_epoch", "dead_letter", "event", "job", "outbox", "suspect"];
  expect(await tables()).toEqual(made);
  expect(await migrate({ ...options(), direction: "reset" })).toEqual([...all].reverse());
  expect(await tables()).toEqual([]);
  expect(await migrate(options())).toEqual(all);
  expect(await tables()).toEqual(made);
});

test("down undoes the last one only, and the status shows it", async () => {
  await migrate(options());
  expect(await migrate({ ...options(), direction: "down" })).toEqual(["002_add_job_name"]);
  expect(await migrationStatus(options())).toEqual(all.map((name) => ({ name, applied: name !== all.at(-1) })));
  expect(await migrate(options())).toEqual(["002_add_job_name"]);
  expect(await migrate(options())).toEqual([]);
});

test("two processes that migrate at once do it once", async () => {
  await migrate({ ...options(), direction: "reset" });
  const done = await Promise.all([migrate(options()), migrate(options()), migrate(options())]);
  expect(done.flat()).toEqual(all);
});

test("a migration whose process was killed does not block the next one", async () => {
  await migrate(options());
  await queryOnce(database.adminUrl, "update job.knex_migrations_lock set is_locked = 1");
  expect(await migrate(options())).toEqual([]);
});

test("a migration that fails leaves nothing behind", async () => {
  const path = await mkdtemp(join(tmpdir(), "capstan-migrations-"));
  await writeFile(join(path, "001_create_half.up.sql"), "create table half (id int); select 1/0;");
  await writeFile(join(path, "001_create_half.down.sql"), "drop table half;");
  const broken = { url: database.urlOf("provider"), schema: "provider", directory: pathToFileURL(path) };
  await expect(migrate(broken)).rejects.toThrow(/division by zero/);
  const rows = await queryOnce(
    database.adminUrl,
    "select to_regclass('provider.half') as half, to_regclass('provider.event') as event",
  );
  expect(rows).toEqual([{ half: null, event: null }]);
  await rm(path, { recursive: true });
});

test("a migration without its way back is refused", async () => {
  const path = await mkdtemp(join(tmpdir(), "capstan-migrations-"));
  await writeFile(join(path, "001_create_job.up.sql"), "select 1");
  await expect(migrate({ ...options(), directory: pathToFileURL(path) })).rejects.toThrow(/down\.sql/);
  await rm(path, { recursive: true });
});
