/** An operator starts services before what they need is there, or where they cannot start: they say what is wrong. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { withNats } from "../support/broker.ts";
import { eventually } from "../support/eventually.ts";
import { expectNoViolations } from "../support/invariants.ts";
import { run } from "../support/jobs.ts";
import { startTestNats } from "../support/nats.ts";
import { createServiceProcess, serviceNames } from "../support/serviceProcess.ts";
import { type Platform, preparePlatform } from "../support/startPlatform.ts";

let platform: Platform;

beforeAll(async () => {
  platform = await preparePlatform({ ownPostgres: true });
});

afterAll(async () => {
  try {
    await expectNoViolations(platform);
  } finally {
    await platform.stop();
  }
});

/** Waits until each service says of the dependency what is expected. */
async function expectMissing(dependency: string): Promise<void> {
  for (const service of Object.values(platform.services)) {
    await eventually(async () => {
      const { status, services } = await service.readiness();
      expect(status).toBe(503);
      const told = services[0]?.dependencies.find(({ name }) => name === dependency);
      expect(told).toMatchObject({ ok: false, error: expect.stringMatching(/^[A-Z_]+$/) });
    });
  }
}

test("services that find neither Postgres nor NATS wait, say what is missing, and go on when it comes", async () => {
  const { postgres, nats, services } = platform;
  await Promise.all([postgres?.stop(), nats.stop()]);
  for (const name of serviceNames) services[name].spawn();
  await expectMissing("postgres");
  for (const name of serviceNames)
    expect((await fetch(`http://${services[name].healthAddress}/healthz`)).status).toBe(200);
  await postgres?.restart();
  await expectMissing("nats");
  await nats.restart();
  for (const name of serviceNames) {
    await eventually(() => services[name].log.some(({ msg }) => msg === "ready"), 30_000);
    await eventually(async () => expect((await services[name].readiness()).status).toBe(200));
  }
  await platform.registerProviders();
  expect(await run(platform.capstan, { command: ["true"] })).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

test("readiness tells no secret, neither an address nor a password", async () => {
  const { postgres, services } = platform;
  await postgres?.stop();
  await expectMissing("postgres");
  for (const service of Object.values(services)) {
    const text = JSON.stringify(await service.readiness());
    expect(text).not.toMatch(/password|127\.0\.0\.1|capstan_|postgres:\/\//);
  }
  await postgres?.restart();
  for (const service of Object.values(services)) {
    await eventually(async () => expect((await service.readiness()).status).toBe(200));
  }
});

test("while Postgres is away calls are refused at once as something to try again, and tell nothing of the inside", async () => {
  const { postgres, capstan } = platform;
  await postgres?.stop();
  await eventually(async () => {
    const error = await capstan.jobs
      .listJobs({ filter: "", orderBy: "", pageSize: 0, pageToken: "" })
      .catch((cause: Error) => cause);
    expect(error).toMatchObject({ code: "UNAVAILABLE" });
    expect((error as Error).message).not.toMatch(/ECONNREFUSED|127\.0\.0\.1|postgres/i);
  });
  await postgres?.restart();
  await eventually(() => run(capstan, { command: ["true"] }), 30_000);
});

test.each(serviceNames)("the %s service names the address that is taken, and ends", async (name) => {
  const taken = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void taken.close());
  await eventually(() => taken.listening);
  const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  for (const addresses of [
    { grpcAddress: address, healthAddress: "127.0.0.1:0" },
    { grpcAddress: "127.0.0.1:0", healthAddress: address },
  ]) {
    const env = {
      ...bareEnv,
      CAPSTAN_DATABASE_URL: platform.database.urlOf(name),
      CAPSTAN_NATS_URL: platform.nats.url,
    };
    const service = createServiceProcess({ name, ...addresses, env });
    await expect(service.start()).rejects.toThrow(`another process already listens on ${address}`);
    expect(await service.kill("SIGTERM")).toBe(1);
  }
});

test.each(
  serviceNames,
)("the %s service names what is different about a stream that somebody else made, and ends", async (name) => {
  const nats = await startTestNats();
  onTestFinished(() => nats.release());
  await withNats(nats.url, async (connection) => {
    const manager = await jetstreamManager(connection);
    const stream = { name: `CAPSTAN_${name.toUpperCase()}`, subjects: [`capstan.v1.*.${name}.>`] };
    await manager.streams.add({ ...stream, max_msg_size: 1_000 });
  });
  const env = {
    ...bareEnv,
    CAPSTAN_DATABASE_URL: platform.database.urlOf(name),
    CAPSTAN_NATS_URL: nats.url,
  };
  const service = createServiceProcess({ name, grpcAddress: "127.0.0.1:0", healthAddress: "127.0.0.1:0", env });
  await expect(service.start()).rejects.toThrow("max_msg_size is 1000");
  expect(await service.kill("SIGTERM")).toBe(1);
});

test("a service that is set up wrongly names every variable at once, and ends", async () => {
  const env = { ...bareEnv, CAPSTAN_LOG_LEVEL: "loud", CAPSTAN_NATS_URL: "http://x" };
  const service = createServiceProcess({ name: "job", grpcAddress: "nowhere", healthAddress: "127.0.0.1:0", env });
  await expect(service.start()).rejects.toThrow();
  const said = service.log.map(({ msg }) => msg).join("\n");
  for (const variable of ["CAPSTAN_DATABASE_URL", "CAPSTAN_LOG_LEVEL", "CAPSTAN_NATS_URL", "CAPSTAN_GRPC_ADDRESS"]) {
    expect(said).toContain(variable);
  }
  expect(await service.kill("SIGTERM")).toBe(2);
});
