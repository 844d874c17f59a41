/** `capstan doctor` on a small past of this file's own: what it says, its exit codes, and its repairs. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { migrate } from "@capstan/postgres";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { ids, writeWorld } from "../../../test/support/invariantWorld.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { serviceNames } from "../../../test/support/serviceProcess.ts";

const cli = fileURLToPath(new URL("../bin/capstan.js", import.meta.url));
let database: TestDatabase;
let nats: TestNats;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase(...serviceNames), startTestNats()]);
  for (const schema of serviceNames) {
    const directory = new URL(`../../../services/${schema}/migrations/`, import.meta.url);
    await migrate({ url: database.urlOf(schema), schema, directory });
  }
  const client = new Client({ connectionString: database.adminUrl });
  await client.connect();
  await writeWorld(client);
  await client.end();
});

afterAll(async () => {
  await Promise.all([database.drop(), nats.release()]);
});

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function doctor(args: readonly string[], url = database.adminUrl, natsUrl = nats.url): Promise<Outcome> {
  const env = { ...bareEnv, CAPSTAN_DATABASE_URL: url, CAPSTAN_NATS_URL: natsUrl };
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, "doctor", "--again-after", "0s", ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

test("a system that is well has nothing to say, and that is exit code 0", async () => {
  const { code, stdout, stderr } = await doctor([]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stdout).toMatch(/^\d+ invariants examined, nothing found\n$/);
});

test("a finding says what it means and what to do; a dry run changes nothing, and a fix mends it", async () => {
  const overCount = `update provider.provider set live_reservations = 1, used_slots = 1 where id = '${ids.provider}'`;
  await queryOnce(database.adminUrl, overCount);
  const found = await doctor([]);
  expect(found.code).toBe(4);
  expect(found.stdout).toContain("ERROR  a provider counts other reservations than live on it");
  expect(found.stdout).toContain("local (default) counts 1 with 1 slots of 0 with 0");
  expect(found.stdout).toContain("Do: count again with --fix");

  const planned = await doctor(["--fix", "--dry-run", "--json"]);
  expect(JSON.parse(planned.stdout)).toMatchObject({
    found: [{ invariant: "providers-count-what-lives", severity: "error", repairState: { state: "planned" } }],
  });
  expect((await doctor([])).code).toBe(4);

  const fixed = await doctor(["--fix"]);
  expect(fixed).toMatchObject({ code: 4, stdout: expect.stringContaining("repaired: counts again") });
  expect(await doctor(["--only", "providers-count-what-lives"])).toMatchObject({ code: 0 });
  const [told] = await queryOnce(
    database.adminUrl,
    "delete from provider.event where noun = 'repair' returning event, data",
  );
  await queryOnce(database.adminUrl, "delete from provider.outbox");
  const data = { repair: "providers-count-what-lives", count: 1, actor: expect.stringContaining("@") };
  expect(told).toMatchObject({ event: "made", data });
});

test("one invariant alone is examined, and one that is misspelt is refused with what was meant", async () => {
  const one = await doctor(["--only", "no-dead-letters", "--json"]);
  expect(JSON.parse(one.stdout)).toEqual({ examined: 1, found: [], unexamined: [], silentEngines: [] });
  const wrong = await doctor(["--only", "no-dead-leters"]);
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("did you mean no-dead-letters?") });
});

test("without a broker the rest is examined, and it is said what was not", async () => {
  const { code, stdout } = await doctor([], database.adminUrl, "nats://127.0.0.1:1");
  expect(code).toBe(3);
  expect(stdout).toMatch(/not examined: streams-hold-the-log: NATS does not answer/);
});

test("a role that may not read all schemas is told which it needs", async () => {
  const { code, stderr } = await doctor([], database.urlOf("job"));
  expect(code).toBe(2);
  expect(stderr).toContain("capstan_job may not read provider, execution, orchestrator");
  expect(stderr).toContain("pg_read_all_data");
});

test("no database, no address, and another database are each said as what they are", async () => {
  expect(await doctor([], "postgres://postgres@127.0.0.1:1/x")).toMatchObject({
    code: 3,
    stderr: expect.stringContaining("cannot open the database at 127.0.0.1:1"),
  });
  expect(await doctor([], "")).toMatchObject({ code: 2, stderr: expect.stringContaining("--database-url") });
  const empty = await createTestDatabase("job");
  expect(await doctor([], empty.adminUrl)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("this database has no schema provider, execution, orchestrator"),
  });
  await empty.drop();
});

test("the list shows every invariant that it examines", async () => {
  const { code, stdout } = await doctor(["--list", "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout).length).toBeGreaterThan(60);
});
