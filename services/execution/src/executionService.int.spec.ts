/** Reading executions, as users do. */
import { randomUUID } from "node:crypto";
import type { ListExecutionsRequest } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { startOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let service: TestService;
const jobId = randomUUID();
const starts = Array.from({ length: 7 }, (_, index) =>
  startOf({ command: ["sh", "-c", `exit ${index % 2}`], env: { SECRET: "x" } }, { jobId, attempt: index + 1 }),
);

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("execution"), startTestNats()]);
  service = await startTestService({ database, natsUrl: nats.url });
  for (const start of starts) await service.internal.startExecutions({ starts: [start] });
  await service.internal.startExecutions({ starts: [startOf({ command: ["true"] })] });
  await eventually(async () =>
    expect((await list({ filter: "" })).executions.every(({ endTime }) => endTime)).toBe(true),
  );
});

afterAll(async () => {
  await service?.end("SIGTERM");
  await Promise.all([nats.release(), database.drop()]);
});

function list(request: Partial<ListExecutionsRequest>) {
  return service.executions.listExecutions({ pageSize: 0, pageToken: "", filter: "", ...request });
}

test("an execution is shown with what it runs, and an unknown one is not found", async () => {
  const [start] = starts;
  const executionId = start?.executionId ?? "";
  const { execution } = await service.executions.getExecution({ executionId: executionId.toUpperCase() });
  expect(execution).toMatchObject({ id: executionId, jobId, attempt: 1, spec: { command: ["sh", "-c", "exit 0"] } });
  const unknown = service.executions.getExecution({ executionId: randomUUID() });
  await expect(unknown).rejects.toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
  const nonsense = service.executions.getExecution({ executionId: "x" });
  await expect(nonsense).rejects.toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "execution_id" }] });
});

test("a list comes in pages, newest first, without specs", async () => {
  const filter = `job_id = "${jobId}"`;
  const seen: number[] = [];
  let pageToken = "";
  do {
    const page = await list({ filter, pageSize: 3, pageToken });
    expect(page.executions.length).toBeLessThanOrEqual(3);
    for (const { attempt, spec } of page.executions) {
      seen.push(attempt);
      expect(spec).toBeUndefined();
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(seen).toEqual([7, 6, 5, 4, 3, 2, 1]);
});

test.each([
  ["state = FAILED", 3],
  ["state = SUCCEEDED AND attempt > 1", 3],
  ['provider_name = "elsewhere"', 0],
  ["create_time > 2020-01-01T00:00:00Z AND attempt <= 2", 2],
])("a list can be filtered: %s", async (filter, count) => {
  const { executions } = await list({ filter: `job_id = "${jobId}" AND ${filter}` });
  expect(executions).toHaveLength(count);
});

test("a filter over what is no field, and a page of another list, are refused", async () => {
  await expect(list({ filter: "spec = 1" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  const { nextPageToken } = await list({ pageSize: 1 });
  const other = list({ pageSize: 1, pageToken: nextPageToken, filter: "attempt = 1" });
  await expect(other).rejects.toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "page_token" }] });
});
