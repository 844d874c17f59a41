/** Executions as the orchestrator sees them, on real processes. */
import { openPool } from "@capstan/postgres";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { readSubject, withNats } from "../../../test/support/broker.ts";
import { createTestDatabase, createTestLog, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { listLive } from "./executionStore.ts";
import { factsOf, startOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let service: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("execution"), startTestNats()]);
  service = await startTestService({ database, natsUrl: nats.url });
});

afterAll(async () => {
  await service?.end("SIGTERM");
  await Promise.all([nats.release(), database.drop()]);
});

async function run(...starts: readonly ReturnType<typeof startOf>[]) {
  const { outcomes } = await service.internal.startExecutions({ starts: [...starts] });
  return outcomes;
}

function get(executionId: string) {
  return service.executions.getExecution({ executionId }).then(({ execution }) => execution);
}

async function untilEnded(executionId: string) {
  return eventually(async () => {
    const execution = await get(executionId);
    expect(execution?.endTime).toBeDefined();
    return execution;
  });
}

const untilState = (executionId: string, state: string) =>
  eventually(async () => expect((await get(executionId))?.state).toBe(`EXECUTION_STATE_${state}`));

test("a command runs to its end, and tells its start and its end in order", async () => {
  const start = startOf({ command: ["sh", "-c", "echo hello; echo 'CAPSTAN_OUTPUT={\"n\":1}'"] });
  expect(await run(start)).toEqual(["START_OUTCOME_ACCEPTED"]);
  const execution = await untilEnded(start.executionId);
  expect(execution).toMatchObject({
    state: "EXECUTION_STATE_SUCCEEDED",
    exitCode: 0,
    result: { n: 1 },
    fence: 1,
    externalRef: expect.stringMatching(/^pid:\d+/),
    log: { stdoutBytes: 29, lines: 2, isSealed: true },
  });
  expect(execution?.startTime?.getTime()).toBeGreaterThanOrEqual(execution?.createTime?.getTime() ?? Infinity);
  expect(execution?.endTime?.getTime()).toBeGreaterThanOrEqual(execution?.startTime?.getTime() ?? Infinity);
  const facts = await factsOf(database, start.executionId);
  expect(facts.map(({ sequence, event }) => [sequence, event])).toEqual([
    [1, "started"],
    [2, "succeeded"],
  ]);
  expect(facts[0]?.data).toMatchObject({ state: "EXECUTION_STATE_RUNNING", jobId: start.jobId, providerName: "local" });
  expect(facts[1]?.data).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", exitCode: 0, result: { n: 1 } });
});

test("a batch runs side by side and each has its own end", async () => {
  const starts = Array.from({ length: 50 }, (_, code) => startOf({ command: ["sh", "-c", `exit ${code}`] }));
  await run(...starts);
  for (const [code, { executionId }] of starts.entries()) {
    const execution = await untilEnded(executionId);
    expect(execution?.exitCode).toBe(code);
    expect(execution?.reason).toBe(code === 0 ? "REASON_UNSPECIFIED" : "REASON_EXIT_CODE");
  }
});

test("an execution without output stores no log", async () => {
  const start = startOf({ command: ["true"] });
  await run(start);
  const execution = await untilEnded(start.executionId);
  expect(execution?.log).toMatchObject({ stdoutBytes: 0, isSealed: true, lines: 0 });
  const chunks = await queryOnce(database.adminUrl, "select from execution.log_chunk where execution_id = $1", [
    start.executionId,
  ]);
  expect(chunks).toEqual([]);
});

test("a program that is not there fails the start with its reason, and only that is told", async () => {
  const start = startOf({ command: ["no-such-program"] });
  await run(start);
  const execution = await untilEnded(start.executionId);
  expect(execution).toMatchObject({ state: "EXECUTION_STATE_FAILED", reason: "REASON_COMMAND_NOT_FOUND" });
  expect((await factsOf(database, start.executionId)).map(({ event }) => event)).toEqual(["failed"]);
});

test("a repeated start runs nothing twice, neither in one call nor in two nor after the end", async () => {
  const start = startOf({ command: ["sh", "-c", "echo run"] });
  expect(await run(start, start)).toEqual(["START_OUTCOME_ACCEPTED", "START_OUTCOME_REPEATED"]);
  expect(await run(start)).toEqual(["START_OUTCOME_REPEATED"]);
  const execution = await untilEnded(start.executionId);
  expect(await run(start)).toEqual(["START_OUTCOME_REPEATED"]);
  expect(execution?.log?.stdoutBytes).toBe(4);
  expect(await get(start.executionId)).toEqual(execution);
});

const cancel = (start: ReturnType<typeof startOf>) =>
  service.internal.stopExecutions({
    stops: [
      {
        executionId: start.executionId,
        reason: "REASON_CANCELLED_BY_USER",
        message: "enough",
        tenant: start.tenant,
        jobId: start.jobId,
        step: start.step,
        attempt: start.attempt,
      },
    ],
  });

test("a start or a stop of what has ended has its end told again, and nothing else", async () => {
  const start = startOf({ command: ["true"] });
  await run(start);
  await untilEnded(start.executionId);
  const subject = `capstan.v1.default.execution.execution.*.${start.executionId}`;
  await withNats(nats.url, async (connection) => {
    // Not from the stream, which drops what it has: only after its window has passed does it take the same fact again.
    await eventually(async () => expect(await readSubject(nats.url, "execution", subject)).toHaveLength(2));
    const told: string[] = [];
    connection.subscribe(subject, { callback: (_, message) => void told.push(message.subject.split(".")[5] ?? "") });
    await connection.flush();
    await run(start);
    await eventually(async () => expect(told).toEqual(["succeeded"]));
    await cancel(start);
    await eventually(async () => expect(told).toEqual(["succeeded", "succeeded"]));
  });
});

test("a stop asks the workload, waits for it, and ends as cancelled", async () => {
  const start = startOf({
    command: ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"],
  });
  await run(start);
  await untilState(start.executionId, "RUNNING");
  await eventually(async () => {
    const parts = await Array.fromAsync(
      service.executions.tailLogs({ executionId: start.executionId, afterSequence: 0, follow: false }),
    );
    return parts.length > 1;
  });
  await cancel(start);
  await cancel(start); // may be repeated
  const execution = await untilEnded(start.executionId);
  expect(execution).toMatchObject({
    state: "EXECUTION_STATE_CANCELLED",
    reason: "REASON_CANCELLED_BY_USER",
    message: "enough",
    exitCode: 0,
    log: { stdoutBytes: 7 },
  });
  await cancel(start);
  expect((await factsOf(database, start.executionId)).map(({ event }) => event)).toEqual(["started", "cancelled"]);
});

test("a stop that was recorded while its answer was lost is passed on when it is asked for again", async () => {
  const start = startOf({ command: ["sleep", "60"] });
  await run(start);
  await untilState(start.executionId, "RUNNING");
  await queryOnce(
    database.adminUrl,
    `update execution.execution set state = 'STOPPING', reason = 'CANCELLED_BY_USER', message = 'first' where id = $1`,
    [start.executionId],
  );
  const { executionId, tenant, jobId, step, attempt } = start;
  const stop = { executionId, tenant, jobId, step, attempt, reason: "REASON_OPERATOR" as const, message: "second" };
  await service.internal.stopExecutions({ stops: [stop] });
  expect(await untilEnded(executionId)).toMatchObject({
    state: "EXECUTION_STATE_CANCELLED",
    reason: "REASON_CANCELLED_BY_USER",
    message: "first",
  });
});

test("a workload that is deaf to the stop is killed after its grace", async () => {
  const start = startOf({
    command: ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"],
    stopGrace: { seconds: 0, nanos: 200_000_000 },
  });
  await run(start);
  await untilState(start.executionId, "RUNNING");
  await cancel(start);
  expect(await untilEnded(start.executionId)).toMatchObject({ state: "EXECUTION_STATE_CANCELLED", signal: "SIGKILL" });
});

test("a stop that comes before the start leaves a mark, and the late start runs nothing", async () => {
  const start = startOf({ command: ["true"] });
  await cancel(start);
  await cancel(start);
  expect(await run(start)).toEqual(["START_OUTCOME_STOPPED"]);
  expect(await get(start.executionId)).toMatchObject({ state: "EXECUTION_STATE_CANCELLED", externalRef: "" });
  const facts = await factsOf(database, start.executionId);
  expect(facts.map(({ sequence, event }) => [sequence, event])).toEqual([[1, "cancelled"]]);
  expect(facts[0]?.data).toMatchObject({ reason: "REASON_CANCELLED_BY_USER", jobId: start.jobId });
});

test("a stop right behind the start ends it once, whoever is first", async () => {
  const starts = Array.from({ length: 40 }, () => startOf({ command: ["sleep", "30"] }));
  await Promise.all([run(...starts), ...starts.map(cancel)]);
  for (const { executionId } of starts) {
    expect(await untilEnded(executionId)).toMatchObject({ state: "EXECUTION_STATE_CANCELLED" });
    const facts = await factsOf(database, executionId);
    expect(facts.map(({ sequence }) => sequence)).toEqual(facts.map((_, index) => index + 1));
    expect(facts.at(-1)?.event).toBe("cancelled");
  }
});

test("a workload that runs too long is stopped and timed out", async () => {
  const start = startOf({ command: ["sleep", "30"], runTimeout: { seconds: 0, nanos: 150_000_000 } });
  await run(start);
  const execution = await untilEnded(start.executionId);
  expect(execution).toMatchObject({
    state: "EXECUTION_STATE_TIMED_OUT",
    reason: "REASON_RUN_TIMEOUT",
    message: "ran longer than 0.15 s",
    signal: "SIGTERM",
  });
});

test("an engine that does not answer is asked until the start times out", async () => {
  const start = startOf(
    { image: "busybox", startTimeout: { seconds: 1, nanos: 0 } },
    {
      kind: "PROVIDER_KIND_DOCKER",
      endpoint: "unix:///no/such/socket",
      providerId: "00000000-0000-4000-8000-000000000002",
    },
  );
  await run(start);
  await eventually(async () => expect((await get(start.executionId))?.reason).toBe("REASON_PROVIDER_UNREACHABLE"));
  const execution = await untilEnded(start.executionId);
  expect(execution).toMatchObject({ state: "EXECUTION_STATE_TIMED_OUT", reason: "REASON_START_TIMEOUT" });
  expect((await factsOf(database, start.executionId)).map(({ event }) => event)).toEqual(["timed_out"]);
});

test("who reads the live executions page by page comes to each of them, and to none that has ended", async () => {
  const pool = openPool({ url: database.url, schema: "execution", log: createTestLog() });
  onTestFinished(() => pool.end());
  const [ended, ...live] = [["true"], ["sleep", "60"], ["sleep", "60"], ["sleep", "60"]].map((command) =>
    startOf({ command }),
  );
  await run(...live, ...(ended === undefined ? [] : [ended]));
  await untilEnded(ended?.executionId ?? "");
  const ids = live.map(({ executionId }) => executionId).sort();
  const found: string[] = [];
  for (let afterId = "00000000-0000-0000-0000-000000000000"; ; afterId = found.at(-1) ?? "") {
    const page = await listLive(pool, 0, afterId, 2);
    if (page.length === 0) break;
    found.push(...page.map(({ id }) => id));
  }
  expect(found).toEqual(ids);
  const { executions, nextPageToken } = await service.internal.listLiveExecutions({ minAge: undefined, pageToken: "" });
  expect(executions.map(({ executionId }) => executionId)).toEqual(ids);
  expect(nextPageToken).toBe("");
  const stop = { tenant: "default", step: "main", attempt: 1, reason: "REASON_OPERATOR" as const, message: "" };
  await service.internal.stopExecutions({
    stops: live.map(({ executionId, jobId }) => ({ ...stop, executionId, jobId })),
  });
  await Promise.all(ids.map(untilEnded));
});

test("bad requests are refused with every bad field", async () => {
  const bad = {
    ...startOf({ command: ["true"] }),
    executionId: "x",
    attempt: 0,
    kind: "PROVIDER_KIND_UNSPECIFIED" as const,
  };
  await expect(run(bad)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    fields: [{ field: "starts[0].execution_id" }, { field: "starts[0].attempt" }, { field: "starts[0].kind" }],
  });
  const tooMany = Array.from({ length: 1_001 }, () => startOf({ command: ["true"] }));
  await expect(run(...tooMany)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "starts" }] });
});
