/**
 * Everything that was written is also started: each RPC of each contract is answered, each loop runs and shows, each stream and
 * consumer is there. Both ways to run are held to it: four services alone, and all of them in one process.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@capstan/client";
import { connectTo } from "@capstan/grpc";
import type { Checkup } from "@capstan/proto/capstan/system/v1/checkup.ts";
import { SystemServiceClient } from "@capstan/proto/capstan/system/v1/system_service.ts";
import { Client, credentials, type MethodDefinition, type ServiceDefinition, status } from "@grpc/grpc-js";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { readConsumers, streamOf, withNats } from "../support/broker.ts";
import { eventually } from "../support/eventually.ts";
import { findFreePort } from "../support/freePort.ts";
import { run } from "../support/jobs.ts";
import {
  createServiceProcess,
  type ServiceName,
  type ServiceProcess,
  serviceNames,
} from "../support/serviceProcess.ts";
import { usePlatform } from "../support/usePlatform.ts";
import { listProcessesNaming } from "../support/workloads.ts";

const root = join(import.meta.dirname, "../..");
type Method = MethodDefinition<unknown, unknown>;

/** Every method of every contract of a context. */
async function methodsOf(context: ServiceName | "system" | "gateway"): Promise<readonly Method[]> {
  const directory = join(root, "proto/gen/capstan", context, "v1");
  const files = (await readdir(directory)).filter((name) => name.endsWith("_service.ts"));
  expect(files).not.toEqual([]);
  const modules = await Promise.all(
    files.map((name) => import(join(directory, name)) as Promise<Record<string, unknown>>),
  );
  const definitions = modules.flatMap((module) =>
    Object.entries(module).flatMap(([name, value]) =>
      name.endsWith("ServiceService") ? [value as ServiceDefinition] : [],
    ),
  );
  return definitions.flatMap((definition) => Object.values(definition) as Method[]);
}

/** The code with which an empty request is answered. */
function callEmpty(address: string, { path, responseStream }: Method): Promise<number> {
  const client = new Client(address, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const options = { deadline: Date.now() + 10_000 };
  return new Promise<number>((resolve) => {
    const answer = (code: number) => {
      client.close();
      resolve(code);
    };
    if (responseStream) {
      const stream = client.makeServerStreamRequest(path, same, same, Buffer.alloc(0), options);
      stream.on("data", () => {}).on("error", () => {});
      stream.on("status", ({ code }) => answer(code));
    } else {
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), options, (error) => answer(error?.code ?? status.OK));
    }
  });
}

const brokenCodes = [
  status.UNIMPLEMENTED,
  status.UNAVAILABLE,
  status.INTERNAL,
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
];

async function expectAnswers(address: string, context: ServiceName | "system" | "gateway"): Promise<void> {
  for (const method of await methodsOf(context)) {
    const code = await callEmpty(address, method);
    expect(brokenCodes, `${method.path} answered ${status[code]}`).not.toContain(code);
  }
}

async function listCheckups(address: string): Promise<readonly Checkup[]> {
  const client = connectTo(SystemServiceClient, address);
  const { checkups } = await client.listCheckups({});
  client.close();
  return checkups;
}

/** The names under which a service's code starts loops. */
async function loopsInCode(service: ServiceName | "gateway"): Promise<readonly string[]> {
  const directory = join(root, "services", service, "src");
  const files = (await readdir(directory)).filter((name) => name.endsWith(".ts") && !name.includes(".spec."));
  const texts = await Promise.all(files.map((name) => readFile(join(directory, name), "utf8")));
  const names = texts.flatMap((text) =>
    [...text.matchAll(/startLoop\(\{\s*name: "([^"]+)"/g)].map(([, name = ""]) => name),
  );
  // The gateway has no facts of its own to publish.
  return (service === "gateway" ? names : [...names, `${service}-relay`]).sort();
}

async function expectLoops(process: ServiceProcess): Promise<void> {
  await eventually(async () => {
    const { services } = await process.readiness();
    for (const { service, loops } of services.filter(({ service }) => service !== "standalone")) {
      expect(loops.map(({ name }) => name).sort()).toEqual(await loopsInCode(service as ServiceName | "gateway"));
      for (const loop of loops) expect(loop).toMatchObject({ ok: true, lastPassMs: expect.any(Number) });
    }
  });
}

async function expectTopology(natsUrl: string): Promise<void> {
  await withNats(natsUrl, async (nats) => {
    const streams = await (await jetstreamManager(nats)).streams.list().next();
    expect(streams.map(({ config }) => config.name).sort()).toEqual(serviceNames.map(streamOf).sort());
    const consumers = await readConsumers(nats);
    expect(consumers.map(({ name }) => name).sort()).toEqual([
      "CAPSTAN_EXECUTION/orchestrator-execution",
      "CAPSTAN_JOB/orchestrator-job",
    ]);
  });
}

describe("the services, each in a process of its own", () => {
  const platform = usePlatform();

  test.each(serviceNames)("the %s service answers every RPC of its contracts", async (name) => {
    await expectAnswers(platform().services[name].grpcAddress, name);
    await expectAnswers(platform().services[name].grpcAddress, "system");
  });

  test("each service answers what its last checkup found, all in the same way", async () => {
    for (const name of serviceNames) {
      await eventually(async () => {
        const [checkup, ...others] = await listCheckups(platform().services[name].grpcAddress);
        expect(others).toEqual([]);
        expect(checkup).toMatchObject({ service: name, violations: [], unexamined: [] });
        expect(checkup?.time?.getTime()).toBeGreaterThan(0);
        expect(checkup?.examined).toBeGreaterThan(3);
      });
    }
  });

  test.each(serviceNames)("every loop of the %s service runs and shows in its readiness", async (name) => {
    await expectLoops(platform().services[name]);
  });

  test.each(serviceNames)("the %s service says by gRPC's own health service that it serves", async (name) => {
    const client = new Client(platform().services[name].grpcAddress, credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    const answer = await new Promise<Buffer | undefined>((resolve, reject) => {
      client.makeUnaryRequest("/grpc.health.v1.Health/Check", same, same, Buffer.alloc(0), (error, bytes) => {
        if (error === null) resolve(bytes);
        else reject(error);
      });
    });
    client.close();
    expect(answer).toEqual(Buffer.from([8, 1])); // SERVING
  });

  test("every stream and every consumer is there", () => expectTopology(platform().nats.url));

  test("each service gives its figures to Prometheus", async () => {
    const { capstan, services } = platform();
    await run(capstan, { command: ["true"] });
    for (const { healthAddress } of Object.values(services)) {
      const text = await (await fetch(`http://${healthAddress}/metrics`)).text();
      expect(text).toMatch(/^db_client_connection_count\{/m);
      expect(text).toMatch(/^process_memory_usage/m);
    }
    const jobs = await (await fetch(`http://${services.job.healthAddress}/metrics`)).text();
    expect(jobs).toContain('method="SubmitJob",code="OK"');
  });
});

describe("all services in one process", () => {
  let directory: string;
  let standalone: ServiceProcess;
  const ports = new Map<string, number>();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "capstan-standalone-"));
    for (const name of ["grpc", "health", "postgres", "nats"]) ports.set(name, await findFreePort());
    standalone = createServiceProcess({
      name: "standalone",
      grpcAddress: `127.0.0.1:${ports.get("grpc")}`,
      healthAddress: `127.0.0.1:${ports.get("health")}`,
      env: {
        ...bareEnv,
        CAPSTAN_HTTP_ADDRESS: "127.0.0.1:0",
        CAPSTAN_DATA_DIR: directory,
        CAPSTAN_WORK_DIR: join(directory, "work"),
        CAPSTAN_POSTGRES_PORT: String(ports.get("postgres")),
        CAPSTAN_NATS_PORT: String(ports.get("nats")),
      },
    });
    await standalone.start();
  });

  afterAll(async () => {
    await standalone.kill("SIGTERM");
    await rm(directory, { recursive: true, force: true });
  });

  test.each([
    ...serviceNames,
    "system",
    "gateway",
  ] as const)("its one address answers every RPC of the %s contracts", async (name) => {
    await expectAnswers(standalone.grpcAddress, name);
  });

  test("it answers the last checkups of all its services", async () => {
    const checkups = await listCheckups(standalone.grpcAddress);
    expect(checkups.map(({ service }) => service)).toEqual([...serviceNames].sort());
  });

  test("every loop runs and shows in its readiness, over HTTP and over gRPC", async () => {
    await expectLoops(standalone);
    const { services } = await standalone.readiness();
    expect(services.map(({ service }) => service)).toEqual(expect.arrayContaining([...serviceNames]));
    const client = connectTo(SystemServiceClient, standalone.grpcAddress);
    const answered = await client.listReadiness({});
    client.close();
    const namesOf = (loops: readonly { readonly name: string }[]) => loops.map(({ name }) => name);
    expect(new Map(answered.services.map(({ service, loops }) => [service, namesOf(loops)]))).toEqual(
      new Map(services.map(({ service, loops }) => [service, namesOf(loops)])),
    );
    expect(answered.services.every(({ ready }) => ready)).toBe(true);
  });

  test("every stream and every consumer is there", () => expectTopology(`nats://127.0.0.1:${ports.get("nats")}`));

  test("it runs a job at once, without any set-up", async () => {
    const capstan = connect({ address: standalone.grpcAddress });
    const job = await run(capstan, { command: ["true"] });
    capstan.close();
    expect(job).toMatchObject({ state: "JOB_STATE_SUCCEEDED", steps: [{ providerName: "local" }] });
  });

  test("it restarts within five seconds with all it knew, and leaves no server behind when it stops", async () => {
    let leastMs = Number.POSITIVE_INFINITY;
    // The best of some, because other spec files run beside this one.
    for (let tries = 0; tries < 8 && leastMs >= 5_000; tries += 1) {
      expect(await standalone.kill("SIGTERM")).toBe(0);
      expect(await listProcessesNaming(directory)).toEqual([]);
      const before = performance.now();
      await standalone.start();
      leastMs = Math.min(leastMs, performance.now() - before);
    }
    expect(leastMs).toBeLessThan(5_000);
    const capstan = connect({ address: standalone.grpcAddress });
    const { jobs } = await capstan.jobs.listJobs({ filter: "", orderBy: "", pageSize: 0, pageToken: "" });
    capstan.close();
    expect(jobs).toHaveLength(1);
  }, 120_000);

  test("killed, it takes its servers along, and starts again", async () => {
    await standalone.restart("SIGKILL");
    const capstan = connect({ address: standalone.grpcAddress });
    expect(await run(capstan, { command: ["true"] })).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
    capstan.close();
  });
});
