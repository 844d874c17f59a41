/** What becomes of moves whose commit was answered with a failure. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats } from "../../../test/support/nats.ts";
import { factsOf, startOf, startTestService } from "./startTestService.ts";

test("a stop that comes while nobody knows whether the start was committed ends the execution, and each fact is told once", async () => {
  const [database, nats] = await Promise.all([createTestDatabase("execution"), startTestNats()]);
  const directory = await mkdtemp(join(tmpdir(), "capstan-failpoints-"));
  // The start is committed, and a second and a half later its commit is said to have failed.
  const wish = { point: "commit", stage: "execution.save_moves", word: "execution.started", mode: "doThenThrow" };
  await writeFile(join(directory, "armed.1"), JSON.stringify({ ...wish, delayMs: 1_500 }));
  const env = { CAPSTAN_FAILPOINTS: directory, NODE_ENV: "test" };
  const service = await startTestService({ database, natsUrl: nats.url, env });
  onTestFinished(async () => {
    await service.end("SIGKILL");
    await Promise.all([database.drop(), nats.release(), rm(directory, { recursive: true })]);
  });
  const start = startOf({ command: ["sleep", "60"], stopGrace: { seconds: 1, nanos: 0 } });
  const { executionId, jobId } = start;
  const stateOf = async () => (await service.executions.getExecution({ executionId })).execution?.state;
  await service.internal.startExecutions({ starts: [start] });
  await eventually(async () => expect(await stateOf()).toBe("EXECUTION_STATE_RUNNING"));
  const stop = { executionId, jobId, tenant: "default", step: "main", attempt: 1, message: "" };
  await service.internal.stopExecutions({ stops: [{ ...stop, reason: "REASON_CANCELLED_BY_USER" }] });
  await eventually(async () => expect(await stateOf()).toBe("EXECUTION_STATE_CANCELLED"), 30_000);
  expect((await factsOf(database, executionId)).map(({ event }) => event)).toEqual(["started", "cancelled"]);
});
