/** What happens to executions when their runner dies, stops, or is taken for dead. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { listWorkloads } from "../../../test/support/workloads.ts";
import { factsOf, startOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let running: TestService[];

beforeAll(async () => {
  nats = await startTestNats();
});

afterAll(() => nats.release());

beforeEach(async () => {
  database = await createTestDatabase("execution");
  running = [];
});

afterEach(async () => {
  await Promise.all(running.map((service) => service.end("SIGKILL")));
  await database.drop();
});

async function open(env: Readonly<Record<string, string>> = {}): Promise<TestService> {
  const service = await startTestService({ database, natsUrl: nats.url, env });
  running.push(service);
  return service;
}

async function kill(service: TestService, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  running = running.filter((each) => each !== service);
  await service.end(signal);
}

async function startRunning(service: TestService, command: readonly string[]) {
  const start = startOf({ command: [...command] });
  await service.internal.startExecutions({ starts: [start] });
  await eventually(() => isIn(service, start.executionId, "RUNNING"));
  return start;
}

async function isIn(service: TestService, executionId: string, state: string): Promise<boolean> {
  const { execution } = await service.executions.getExecution({ executionId });
  return execution?.state === `EXECUTION_STATE_${state}`;
}

test("a process whose runner was killed is lost, and its log has a gap", async () => {
  const first = await open();
  const { executionId } = await startRunning(first, ["sh", "-c", "echo begun; sleep 60"]);
  await eventually(async () => (await storedBytes(executionId)) === 6);
  const second = await open();
  const before = performance.now();
  await kill(first, "SIGKILL");
  await eventually(() => isIn(second, executionId, "LOST"));
  expect(performance.now() - before).toBeLessThan(3_000); // the lease: a dead neighbour is not waited for
  const { execution } = await second.executions.getExecution({ executionId });
  expect(execution).toMatchObject({
    reason: "REASON_LOST",
    fence: 2,
    log: { stdoutBytes: 6, lines: 1, isSealed: true, hasGap: true },
  });
  expect((await factsOf(database, executionId)).map(({ event }) => event)).toEqual(["started", "lost"]);
});

test("a runner that stops ends its processes as lost within their grace, and tells it", async () => {
  const service = await open();
  const polite = await startRunning(service, ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]);
  await kill(service, "SIGTERM");
  const facts = await factsOf(database, polite.executionId);
  expect(facts.map(({ event }) => event)).toEqual(["started", "lost"]);
  expect(facts[1]?.data).toMatchObject({ reason: "REASON_LOST", message: "runner shut down" });
  expect(await queryOnce(database.adminUrl, "select from execution.runner")).toEqual([]);
});

test("a runner whose lease is over is taken over, and its late writes change nothing", async () => {
  const service = await open();
  const { executionId } = await startRunning(service, ["sleep", "3"]);
  // As if another runner had taken it over while this one was paused.
  const other = randomUUID();
  await queryOnce(
    database.adminUrl,
    `with runner as (
       insert into execution.runner (id, host, pid, pid_start, lease_until) values ($2, 'elsewhere', 1, 1, 'infinity')
     ) update execution.execution set lease_owner = $2, fence = fence + 1 where id = $1`,
    [executionId, other],
  );
  const isOver = await eventually(() => hasNoProcess(executionId));
  expect(isOver).toBe(true);
  expect(await isIn(service, executionId, "RUNNING")).toBe(true);
  expect((await factsOf(database, executionId)).map(({ event }) => event)).toEqual(["started"]);
});

test("a runner that is declared dead lets go, registers anew, and goes on with new work", async () => {
  const service = await open();
  const { executionId } = await startRunning(service, ["sleep", "60"]);
  await queryOnce(database.adminUrl, "delete from execution.runner");
  await eventually(() => isIn(service, executionId, "LOST"));
  await eventually(() => hasNoProcess(executionId));
  const next = startOf({ command: ["true"] });
  await eventually(() => service.internal.startExecutions({ starts: [next] }));
  await eventually(() => isIn(service, next.executionId, "SUCCEEDED"));
  expect((await factsOf(database, executionId)).map(({ event }) => event)).toEqual(["started", "lost"]);
});

test("a stop that another replica records is noticed by the runner", async () => {
  const first = await open();
  const second = await open();
  const start = await startRunning(first, ["sleep", "60"]);
  const { executionId, tenant, jobId, step } = start;
  const stop = { executionId, tenant, jobId, step, attempt: 1, reason: "REASON_JOB_TIMEOUT" as const, message: "late" };
  await second.internal.stopExecutions({ stops: [stop] });
  await eventually(() => isIn(second, executionId, "TIMED_OUT"));
  const facts = await factsOf(database, executionId);
  expect(facts.at(-1)?.data).toMatchObject({ reason: "REASON_JOB_TIMEOUT", message: "late" });
});

test("what a dead runner had not begun is begun by another, and what it had asked for is lost", async () => {
  const service = await open();
  const [assigned, starting] = [startOf({ command: ["true"] }), startOf({ command: ["true"] })];
  await queryOnce(
    database.adminUrl,
    `insert into execution.execution (id, tenant, job_id, step, attempt, provider_id, kind, spec, state, lease_owner)
     select id, 'default', id, 'main', 1, id, 'PROCESS', '{"command":["true"]}', state, $3
       from unnest($1::uuid[], $2::text[]) as e(id, state)`,
    [[assigned.executionId, starting.executionId], ["ASSIGNED", "STARTING"], randomUUID()],
  );
  await eventually(() => isIn(service, assigned.executionId, "SUCCEEDED"));
  await eventually(() => isIn(service, starting.executionId, "LOST"));
  expect((await factsOf(database, assigned.executionId)).map(({ event }) => event)).toEqual(["started", "succeeded"]);
  expect((await factsOf(database, starting.executionId)).map(({ event }) => event)).toEqual(["lost"]);
});

test("what a runner recorded but never heard of, because an answer was lost, is begun once", async () => {
  const service = await open();
  const [runner] = await queryOnce(database.adminUrl, "select id from execution.runner");
  const { executionId } = startOf({ command: ["true"] });
  await queryOnce(
    database.adminUrl,
    `insert into execution.execution (id, tenant, job_id, step, attempt, provider_id, kind, spec, state, lease_owner)
     values ($1, 'default', $1, 'main', 1, $1, 'PROCESS', '{"command":["true"]}', 'STARTING', $2)`,
    [executionId, runner?.["id"]],
  );
  await eventually(() => isIn(service, executionId, "SUCCEEDED"));
  const { execution } = await service.executions.getExecution({ executionId });
  expect(execution?.fence).toBe(2);
  expect((await factsOf(database, executionId)).map(({ event }) => event)).toEqual(["started", "succeeded"]);
});

async function storedBytes(executionId: string): Promise<number> {
  const [row] = await queryOnce(
    database.adminUrl,
    "select coalesce(sum(length(data)), 0)::int as bytes from execution.log_chunk where execution_id = $1",
    [executionId],
  );
  return row?.["bytes"] as number;
}

/** Nothing of the execution runs on this machine. */
async function hasNoProcess(executionId: string): Promise<boolean> {
  return (await listWorkloads(null)).every((workload) => workload.executionId !== executionId);
}
