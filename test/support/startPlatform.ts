/**
 * The platform as it is deployed: each service an OS process of its own, on a database and a nats-server of this spec file. What
 * a test does to it, it does from outside: calls, signals, and what it does to Postgres and NATS.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Capstan, connect } from "@capstan/client";
import type Docker from "dockerode";
import { inject } from "vitest";
import { bareEnv } from "./bareEnv.ts";
import { createTestDatabaseOn, queryOnce, type TestDatabase } from "./database.ts";
import { eventually } from "./eventually.ts";
import { findFreePort } from "./freePort.ts";
import { startTestNats, type TestNats } from "./nats.ts";
import { startTestPostgres, type TestPostgres } from "./postgres.ts";
import { createServiceProcess, type ServiceName, type ServiceProcess, serviceNames } from "./serviceProcess.ts";
import { findDockerEngine, listWorkloads } from "./workloads.ts";

export interface PlatformOptions {
  /** Beside what every service needs, for all of them. */
  readonly env?: NodeJS.ProcessEnv;
  /** Slots of each provider; 64 when absent. */
  readonly slots?: number;
  /** A Postgres of its own, which the test may stop; otherwise a database on that of the run. */
  readonly ownPostgres?: boolean;
}

export interface Platform {
  /** One client for all four services, each at its own address. */
  readonly capstan: Capstan;
  readonly services: Readonly<Record<ServiceName, ServiceProcess>>;
  readonly database: TestDatabase;
  readonly nats: TestNats;
  /** Null on the Postgres of the run. */
  readonly postgres: TestPostgres | null;
  /** The engine behind the provider `docker`; null when none answers here. */
  readonly engine: Docker | null;
  /** Starts all services at once and answers when each is ready. */
  start(): Promise<void>;
  /** Registers `local`, and `docker` when an engine answers. */
  registerProviders(): Promise<void>;
  /** Starts one more process of a service, on addresses of its own; it is stopped with the platform. `more` goes before its environment. */
  startReplica(name: ServiceName, more?: NodeJS.ProcessEnv): Promise<ServiceProcess>;
  /**
   * Tells the services to stop and throws unless each ends in order and nothing is left: no process, no container, no directory, no
   * session on the database. Whatever is left is ended all the same.
   */
  stop(): Promise<void>;
}

/** A platform that runs and has its providers. */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const platform = await preparePlatform(options);
  try {
    await platform.start();
    await platform.registerProviders();
    return platform;
  } catch (error) {
    await platform.stop().catch(() => {});
    throw error;
  }
}

/** A platform with its database, roles and NATS, and no service running yet. */
export async function preparePlatform(options: PlatformOptions = {}): Promise<Platform> {
  const postgres = options.ownPostgres === true ? await startTestPostgres() : null;
  const [database, nats, engine, workDirectory] = await Promise.all([
    createTestDatabaseOn(postgres?.url ?? inject("postgresUrl"), ...serviceNames, "gateway"),
    startTestNats(),
    findDockerEngine(),
    mkdtemp(join(tmpdir(), "capstan-work-")),
  ]);
  const addresses = await claimAddresses();
  const env: NodeJS.ProcessEnv = {
    ...bareEnv,
    CAPSTAN_NATS_URL: nats.url,
    CAPSTAN_WORK_DIR: workDirectory,
    CAPSTAN_JOB_ADDRESS: addresses.job.grpcAddress,
    CAPSTAN_PROVIDER_ADDRESS: addresses.provider.grpcAddress,
    CAPSTAN_EXECUTION_ADDRESS: addresses.execution.grpcAddress,
    ...options.env,
  };
  const describeService = (name: ServiceName, at: Addresses) =>
    createServiceProcess({ name, ...at, env: { ...env, CAPSTAN_DATABASE_URL: database.urlOf(name) } });
  const services = forEachService((name) => describeService(name, addresses[name]));
  const replicas: ServiceProcess[] = [];
  const capstan = connectToEach(services);

  async function startReplica(name: ServiceName, more?: NodeJS.ProcessEnv): Promise<ServiceProcess> {
    const [grpc, health] = await claimPorts(2);
    const at = { grpcAddress: `127.0.0.1:${grpc}`, healthAddress: `127.0.0.1:${health}` };
    const replica = describeService(name, at);
    replicas.push(replica);
    await replica.start(more);
    return replica;
  }

  async function stop(): Promise<void> {
    const left = [...(await stopServices([...Object.values(services), ...replicas]))];
    capstan.close();
    left.push(...findSecrets(services, database), ...(await findLeftovers(database, engine, workDirectory)));
    await rm(workDirectory, { recursive: true, force: true });
    await Promise.all([postgres === null ? database.drop() : postgres.release(), nats.release()]);
    if (left.length > 0) throw new Error(`the platform left behind:\n${left.join("\n")}`);
  }

  return {
    capstan,
    services,
    database,
    nats,
    postgres,
    engine,
    start: async () => void (await Promise.all(serviceNames.map((name) => services[name].start()))),
    registerProviders: () => registerProviders(capstan, options.slots ?? 64, engine !== null),
    startReplica,
    stop,
  };
}

function forEachService<T>(make: (name: ServiceName) => T): Record<ServiceName, T> {
  return {
    job: make("job"),
    provider: make("provider"),
    execution: make("execution"),
    orchestrator: make("orchestrator"),
  };
}

type Addresses = { readonly grpcAddress: string; readonly healthAddress: string };

/** They stay the same over restarts, because the other services know them. */
async function claimAddresses(): Promise<Record<ServiceName, Addresses>> {
  const free = await claimPorts(2 * serviceNames.length);
  const next = () => `127.0.0.1:${free.pop()}`;
  return forEachService(() => ({ grpcAddress: next(), healthAddress: next() }));
}

async function claimPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await findFreePort());
  return [...ports];
}

function connectToEach(services: Readonly<Record<ServiceName, ServiceProcess>>): Capstan {
  const { job, provider, execution, orchestrator } = services;
  return connect({
    address: job.grpcAddress,
    addresses: {
      providers: provider.grpcAddress,
      executions: execution.grpcAddress,
      sagas: orchestrator.grpcAddress,
    },
    deadlineMs: 30_000,
  });
}

async function registerProviders({ providers }: Capstan, slots: number, hasEngine: boolean): Promise<void> {
  const capacity = { slots, cpuMillis: 0, memoryMib: 0 };
  const common = { capacity, labels: {}, endpoint: "" };
  await providers.registerProvider({ name: "local", kind: "PROVIDER_KIND_PROCESS", ...common });
  if (hasEngine) await providers.registerProvider({ name: "docker", kind: "PROVIDER_KIND_DOCKER", ...common });
}

/** What was not in order about their end. */
async function stopServices(services: readonly ServiceProcess[]): Promise<readonly string[]> {
  const ends = await Promise.all(
    services.map(async (service) => {
      const unexpected = service.unexpectedEnd();
      if (service.pid === 0) return null;
      if (unexpected !== null) return unexpected;
      const end = await service.kill("SIGTERM");
      return end === 0 || end === "SIGKILL" ? null : `${service.name} ended with ${end} when it was told to stop`;
    }),
  );
  return ends.filter((end) => end !== null);
}

/** No log may hold the password of a database. */
function findSecrets(
  services: Readonly<Record<ServiceName, ServiceProcess>>,
  database: TestDatabase,
): readonly string[] {
  return serviceNames.flatMap((name) => {
    const { password } = new URL(database.urlOf(name));
    const lines = services[name].log.filter((line) => JSON.stringify(line).includes(password));
    return lines.map(({ msg }) => `a password in the log of ${name}: ${msg}`);
  });
}

async function findLeftovers(database: TestDatabase, engine: Docker | null, workDirectory: string): Promise<string[]> {
  const look = async () => {
    const [workloads, sessions, entries] = await Promise.all([
      listOwnWorkloads(database, engine),
      listSessions(database),
      readdir(workDirectory),
    ]);
    // The compile cache of the helper processes is kept for the next start.
    const directories = entries.filter((name) => name !== "compiled");
    return [...workloads, ...sessions, ...directories.map((name) => `${name} below the work directory`)];
  };
  let left: string[] = [];
  await eventually(async () => {
    left = await look();
    return left.length === 0;
  }, 5_000).catch(() => {});
  return left;
}

/** Other platforms may run on this machine; ours are those whose executions our database knows. */
async function listOwnWorkloads(database: TestDatabase, engine: Docker | null): Promise<string[]> {
  const workloads = await listWorkloads(engine);
  if (workloads.length === 0) return [];
  const ids = workloads.map(({ executionId }) => executionId);
  const known = await queryOnce(
    database.adminUrl,
    "select id::text from execution.execution where id::text = any($1::text[])",
    [ids],
  );
  const ours = new Set(known.map(({ id }) => id));
  return workloads.filter(({ executionId }) => ours.has(executionId)).map(({ ref }) => ref);
}

async function listSessions(database: TestDatabase): Promise<string[]> {
  const rows = await queryOnce(
    database.adminUrl,
    `select application_name from pg_stat_activity where datname = current_database() and application_name like 'capstan-%'`,
  );
  return rows.map((row) => `session of ${row["application_name"]} on the database`);
}
