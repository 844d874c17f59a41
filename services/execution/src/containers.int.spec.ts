/** Executions in containers, which outlive their runner. Skipped where no Docker engine answers. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { findDockerEngine, listWorkloads } from "../../../test/support/workloads.ts";
import { factsOf, startOf, startTestService, type TestService } from "./startTestService.ts";

const image = "busybox:latest";
const engine = await findDockerEngine();
const whySkipped = await findReasonToSkip();
const docker = { kind: "PROVIDER_KIND_DOCKER" } as const;
if (whySkipped !== null) console.warn(`skipped: ${whySkipped}`);

async function findReasonToSkip(): Promise<string | null> {
  if (engine === null) return "no Docker engine answers at its default address";
  const images = await engine.listImages({ filters: JSON.stringify({ reference: [image] }) });
  return images.length === 0 ? `the engine has no image ${image} (.ci/run makes one)` : null;
}

describe.skipIf(whySkipped !== null)("on Docker", () => {
  let database: TestDatabase;
  let nats: TestNats;
  let service: TestService;

  beforeAll(async () => {
    [database, nats] = await Promise.all([createTestDatabase("execution"), startTestNats()]);
  });

  beforeEach(async () => {
    service = await startTestService({ database, natsUrl: nats.url });
    return async () => {
      await service.end("SIGTERM");
    };
  });

  afterAll(async () => {
    await Promise.all([nats.release(), database.drop()]);
  });

  async function start(script: string) {
    const one = startOf({ image, command: ["sh", "-c", script], stopGrace: { seconds: 1, nanos: 0 } }, docker);
    await service.internal.startExecutions({ starts: [one] });
    return one;
  }

  async function isIn(executionId: string, state: string): Promise<boolean> {
    const { execution } = await service.executions.getExecution({ executionId });
    return execution?.state === `EXECUTION_STATE_${state}`;
  }

  async function hasNoContainer(executionId: string): Promise<boolean> {
    return (await listWorkloads(engine)).every((workload) => workload.executionId !== executionId);
  }

  test("more than are started at once all run, in turn, and nothing of them is left", async () => {
    const ids = await Promise.all(
      Array.from({ length: 6 }, (_, n) => start(`echo ${n}`).then((one) => one.executionId)),
    );
    for (const id of ids) {
      await eventually(() => isIn(id, "SUCCEEDED"), 60_000);
      expect((await factsOf(database, id)).map(({ event }) => event)).toEqual(["started", "succeeded"]);
      await eventually(() => hasNoContainer(id));
    }
  });

  test("a container goes on under the next runner when its runner is killed, and not a byte of its log is missing", async () => {
    const { executionId } = await start(
      "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done; echo CAPSTAN_OUTPUT=8",
    );
    await eventually(() => isIn(executionId, "RUNNING"));
    await service.end("SIGKILL");
    service = await startTestService({ database, natsUrl: nats.url });
    await eventually(() => isIn(executionId, "SUCCEEDED"), 30_000);
    const { execution } = await service.executions.getExecution({ executionId });
    expect(execution).toMatchObject({ fence: 2, result: 8, log: { lines: 9, hasGap: false, droppedBytes: 0 } });
    expect((await factsOf(database, executionId)).map(({ event }) => event)).toEqual(["started", "succeeded"]);
    await eventually(() => hasNoContainer(executionId));
  });

  test("a runner that stops leaves its containers running, and an exit in between is collected by the next", async () => {
    const { executionId } = await start("echo first; sleep 1; echo last; exit 5");
    await eventually(() => isIn(executionId, "RUNNING"));
    const before = performance.now();
    expect(await service.end("SIGTERM")).toBe(0);
    expect(performance.now() - before).toBeLessThan(3_000);
    await eventually(async () => {
      const container = await engine?.getContainer(`capstan-${executionId}`).inspect();
      return container?.State.Status === "exited";
    });
    service = await startTestService({ database, natsUrl: nats.url });
    await eventually(() => isIn(executionId, "FAILED"));
    const { execution } = await service.executions.getExecution({ executionId });
    expect(execution).toMatchObject({
      exitCode: 5,
      reason: "REASON_EXIT_CODE",
      log: { stdoutBytes: 11, hasGap: false },
    });
  });

  test("a container without a live execution is reaped, but never one of another installation", async () => {
    const other = await createTestDatabase("execution");
    const stranger = await startTestService({ database: other, natsUrl: nats.url });
    const [ours, theirs] = [await start("sleep 60"), startOf({ image, command: ["sleep", "60"] }, docker)];
    await stranger.internal.startExecutions({ starts: [theirs] });
    const isThere = async (id: string) => (await listWorkloads(engine)).some(({ executionId }) => executionId === id);
    await eventually(() => isThere(theirs.executionId));
    await eventually(() => isIn(ours.executionId, "RUNNING"));

    // As if their database had been restored to a time before it.
    await queryOnce(other.adminUrl, "delete from execution.execution");
    await eventually(async () => !(await isThere(theirs.executionId)));
    expect(await isThere(ours.executionId)).toBe(true);
    expect(await isIn(ours.executionId, "RUNNING")).toBe(true);

    await stranger.end("SIGTERM");
    await other.drop();
    const { executionId, jobId } = ours;
    const stop = {
      executionId,
      jobId,
      tenant: "default",
      step: "",
      attempt: 1,
      reason: "REASON_OPERATOR" as const,
      message: "",
    };
    await service.internal.stopExecutions({ stops: [stop] });
    await eventually(() => isIn(executionId, "CANCELLED"), 30_000);
    await eventually(() => hasNoContainer(executionId));
  });
});
