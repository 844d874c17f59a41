/** The service as it is deployed: a process with its loops, its listeners and its facts on NATS. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { connectTo } from "@capstan/grpc";
import { connectNats } from "@capstan/messaging";
import { ProviderInternalServiceClient } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { ProviderServiceClient } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { expect, onTestFinished, test } from "vitest";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { createTestDatabase, createTestLog } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats } from "../../../test/support/nats.ts";
import { requests } from "./startTestService.ts";

test("the process answers, publishes its facts, lets holds run out, shows its loops, and ends on SIGTERM", async () => {
  const [database, broker] = await Promise.all([createTestDatabase("provider"), startTestNats()]);
  onTestFinished(() => database.drop());
  onTestFinished(() => broker.release());
  const child = spawn(process.execPath, [new URL("./main.ts", import.meta.url).pathname], {
    env: {
      ...bareEnv,
      CAPSTAN_DATABASE_URL: database.url,
      CAPSTAN_NATS_URL: broker.url,
      CAPSTAN_GRPC_ADDRESS: "127.0.0.1:0",
      CAPSTAN_HEALTH_ADDRESS: "127.0.0.1:0",
      CAPSTAN_EXPIRE_INTERVAL_MS: "50",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: Record<string, unknown>[] = [];
  createInterface(child.stdout).on("line", (line) => lines.push(JSON.parse(line)));
  const ready = await eventually(() => {
    const line = lines.find((candidate) => "grpcAddress" in candidate);
    if (line === undefined) throw new Error(`not ready; it said ${JSON.stringify(lines)}`);
    return line;
  });

  const nats = await connectNats({ url: broker.url, name: "test", log: createTestLog() });
  onTestFinished(() => nats.close());
  const subjects: string[] = [];
  nats.subscribe("capstan.v1.default.provider.>", { callback: (_, message) => void subjects.push(message.subject) });
  await nats.flush();

  const users = connectTo(ProviderServiceClient, String(ready["grpcAddress"]));
  const orchestrator = connectTo(ProviderInternalServiceClient, String(ready["grpcAddress"]));
  const { provider } = await users.registerProvider({
    name: "local",
    kind: "PROVIDER_KIND_PROCESS",
    capacity: { slots: 2, cpuMillis: 0, memoryMib: 0 },
    labels: {},
    endpoint: "",
  });
  const id = provider?.id ?? "";
  await orchestrator.reportHealth({ observations: [{ providerId: id, isGood: true, message: "" }] });
  await orchestrator.reserveCapacity({
    requests: requests(2, { hold: { seconds: 0, nanos: 1_000_000 } }),
    validateOnly: false,
  });
  await eventually(async () =>
    expect(await users.getProviderStats({ provider: "local" })).toMatchObject({ expired: 2, held: 0 }),
  );
  const events = ["provider.registered", "provider.health_changed", "reservation.held", "reservation.expired"];
  await eventually(() => expect(subjects).toEqual(events.map((event) => `capstan.v1.default.provider.${event}.${id}`)));

  const health = await (await fetch(`http://${ready["healthAddress"]}/readyz`)).json();
  expect(JSON.stringify(health)).toMatch(/postgres.*nats.*relay.*expire-reservations.*prune-reservations/);
  users.close();
  orchestrator.close();
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});
