/** Executions while their database is away: what happens meanwhile is recorded afterwards, for as long as the lease allows. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createTestDatabaseOn, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { startTestPostgres, type TestPostgres } from "../../../test/support/postgres.ts";
import { listWorkloads } from "../../../test/support/workloads.ts";
import { factsOf, startOf, startTestService, type TestService } from "./startTestService.ts";

let postgres: TestPostgres;
let nats: TestNats;
let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  [postgres, nats] = await Promise.all([startTestPostgres(), startTestNats()]);
});

afterAll(async () => {
  await Promise.all([postgres.release(), nats.release()]);
});

beforeEach(async () => {
  database = await createTestDatabaseOn(postgres.url, "execution");
});

afterEach(async () => {
  await service.end("SIGKILL");
  await database.drop();
});

async function startRunning(script: string): Promise<string> {
  const start = startOf({ command: ["sh", "-c", script] });
  await service.internal.startExecutions({ starts: [start] });
  await eventually(() => isIn(start.executionId, "RUNNING"));
  return start.executionId;
}

async function isIn(executionId: string, state: string): Promise<boolean> {
  const { execution } = await service.executions.getExecution({ executionId });
  return execution?.state === `EXECUTION_STATE_${state}`;
}

const untilGone = (executionId: string) =>
  eventually(async () => (await listWorkloads(null)).every((workload) => workload.executionId !== executionId));

test("what ends while the database is away is recorded when it is back, with all its output", async () => {
  service = await startTestService({ database, natsUrl: nats.url, env: { CAPSTAN_LEASE_MS: "60000" } });
  const script = "echo before; sleep 0.7; i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done; exit 4";
  const id = await startRunning(script);
  await postgres.kill();
  await untilGone(id);
  await postgres.restart();
  await eventually(() => isIn(id, "FAILED"));
  const { execution } = await service.executions.getExecution({ executionId: id });
  expect(execution).toMatchObject({ exitCode: 4, fence: 1, log: { lines: 501, hasGap: false, isSealed: true } });
  expect((await factsOf(database, id)).map(({ event }) => event)).toEqual(["started", "failed"]);
});

test("a runner that cannot renew its lease ends its processes before others may take them over", async () => {
  service = await startTestService({ database, natsUrl: nats.url, env: { CAPSTAN_LEASE_MS: "3000" } });
  const [before] = await queryOnce(database.adminUrl, "select id from execution.runner");
  const id = await startRunning("sleep 60");
  await postgres.kill();
  await untilGone(id);
  await postgres.restart();
  await eventually(() => isIn(id, "LOST"));
  expect((await factsOf(database, id)).map(({ event }) => event)).toEqual(["started", "lost"]);
  // It is another runner now, and takes work.
  const next = startOf({ command: ["true"] });
  await eventually(() => service.internal.startExecutions({ starts: [next] }));
  await eventually(() => isIn(next.executionId, "SUCCEEDED"));
  const runners = await queryOnce(database.adminUrl, "select id from execution.runner");
  expect(runners).toHaveLength(1);
  expect(runners[0]).not.toEqual(before);
});
