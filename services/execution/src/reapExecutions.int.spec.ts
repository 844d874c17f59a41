/** What the reaper finds while one of the engines does not answer. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats } from "../../../test/support/nats.ts";
import { listWorkloads } from "../../../test/support/workloads.ts";
import { startOf, startTestService } from "./startTestService.ts";

/** Takes requests and answers none; `asked` are their first lines. */
async function startSilentEngine(): Promise<{ readonly endpoint: string; readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => asked.push(bytes.toString().split("\r\n", 1)[0] ?? ""));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { endpoint: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

test("an engine that hangs holds up neither what is reaped of another nor the end of the service", async () => {
  const [database, nats, engine] = await Promise.all([
    createTestDatabase("execution"),
    startTestNats(),
    startSilentEngine(),
  ]);
  const service = await startTestService({ database, natsUrl: nats.url });
  const container = startOf({ image: "busybox" }, { kind: "PROVIDER_KIND_DOCKER", endpoint: engine.endpoint });
  await service.internal.startExecutions({ starts: [container] });
  const lists = () => engine.asked.filter((line) => line.includes("/containers/json"));
  await eventually(() => expect(lists()).toHaveLength(1));

  const { executionId, ...start } = startOf({ command: ["sleep", "60"] });
  const isRunning = async () => (await listWorkloads(null)).some((workload) => workload.executionId === executionId);
  await service.internal.startExecutions({ starts: [{ executionId, ...start }] });
  await eventually(async () => {
    const { execution } = await service.executions.getExecution({ executionId });
    expect(execution?.state).toBe("EXECUTION_STATE_RUNNING");
  });
  expect(await isRunning()).toBe(true);
  // As if the database had been restored to a time before it.
  await queryOnce(database.adminUrl, "delete from execution.execution where id = $1", [executionId]);
  await eventually(async () => expect(await isRunning()).toBe(false), 20_000);
  expect(lists()).toHaveLength(1); // it hangs still, and is not asked a second time meanwhile

  expect(await service.end("SIGTERM")).toBe(0);
  await Promise.all([database.drop(), nats.release()]);
});
