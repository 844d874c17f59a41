/**
 * The platform that is broken: two of each service that keeps leases, one of the others, each an OS process, with a proxy on every
 * link between them, Postgres, NATS, the workers, the client and the Docker engine. On servers and disks of its own.
 */
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Capstan, connect } from "@capstan/client";
import { ensureRoles, roleUrl } from "@capstan/postgres";
import { QueueSettings } from "@capstan/proto/capstan/orchestrator/v1/queue.ts";
import { Client } from "pg";
import { eventually } from "../support/eventually.ts";
import { findFreePort } from "../support/freePort.ts";
import { type ServiceName, serviceNames } from "../support/serviceProcess.ts";
import { type Engine, openEngine } from "./engine.ts";
import { collectsGarbage } from "./memory.ts";
import { createWorkerNode, describeService, type Node } from "./node.ts";
import { type LinkProxy, openProxy, type Target } from "./proxy.ts";
import { type Store, startNats, startPostgres } from "./stores.ts";

/** Of runners and of workers. Short, so that its end is seen in a run of three minutes. */
export const leaseMs = 9_000;
export const pool = "chaos";
const workerSlots = 40;
const workerCount = 3;
const replicas: Readonly<Record<ServiceName, number>> = { job: 1, provider: 1, execution: 2, orchestrator: 2 };
const password = "chaos-canary-5f2d81c0";

export interface Platform {
  readonly directory: string;
  readonly ledgerPath: string;
  readonly postgres: Store;
  readonly nats: Store;
  /** Null where none answers; `whyNoEngine` says why. */
  readonly engine: Engine | null;
  readonly whyNoEngine: string;
  readonly services: readonly Node[];
  readonly workers: readonly Node[];
  /** Every link that can be made bad, by its two ends: `job-1 > postgres`. */
  readonly links: ReadonlyMap<string, LinkProxy>;
  /** Through the bad links, as a user. */
  readonly user: Capstan;
  /** Straight to the services, for whoever measures. */
  readonly observer: Capstan;
  /** Superuser on the database of the platform, straight. */
  readonly databaseUrl: string;
  /** No log may have it. */
  readonly secret: string;
  query(text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  start(): Promise<void>;
  /** Ends everything, in order where that works; gives back what did not end well. */
  stop(): Promise<readonly string[]>;
  /** Takes away what is left on disk. */
  remove(): Promise<void>;
}

interface Place {
  readonly label: string;
  readonly service: ServiceName;
  readonly grpc: Target & { readonly port: number };
  readonly grpcAddress: string;
  readonly healthAddress: string;
}

const host = "127.0.0.1";

export async function preparePlatform(): Promise<Platform> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-chaos-"));
  await chmod(directory, 0o755);
  const ledgerPath = join(directory, "ledger");
  await writeFile(ledgerPath, "", { mode: 0o666 });
  await chmod(ledgerPath, 0o666);
  const workDirectory = join(directory, "work");
  await mkdir(workDirectory);
  const [postgres, nats, engine] = await Promise.all([
    startPostgres(join(directory, "postgres")),
    startNats(join(directory, "nats")),
    openEngine(directory),
  ]);
  const databaseUrl = await makeDatabase(postgres.url);
  const places = await Promise.all(serviceNames.flatMap((name) => repeat(replicas[name], (n) => place(name, n))));
  const links = new Map<string, LinkProxy>();

  async function link(from: string, to: string, targets: readonly Target[], speaks?: "postgres"): Promise<LinkProxy> {
    const listen = { host, port: await findFreePort() };
    const proxy = await openProxy({ targets, listen, ...(speaks && { speaks }) });
    links.set(`${from} > ${to}`, proxy);
    return proxy;
  }
  const grpcOf = (service: ServiceName) => places.filter((each) => each.service === service).map(({ grpc }) => grpc);
  const store = (each: Store): Target => ({ host, port: each.port });

  const services = await Promise.all(
    places.map(async ({ label, service, grpcAddress, healthAddress }) => {
      const toPostgres = await link(label, "postgres", [store(postgres)], "postgres");
      const toNats = await link(label, "nats", [store(nats)]);
      const needs: readonly ServiceName[] =
        service === "orchestrator" ? ["job", "provider", "execution"] : service === "execution" ? ["provider"] : [];
      const others = await Promise.all(
        needs.map(async (need) => [need, await link(label, need, grpcOf(need))] as const),
      );
      const url = new URL(roleUrl(databaseUrl, { schema: service, password }));
      url.port = String(portOf(toPostgres));
      const env: NodeJS.ProcessEnv = {
        PATH: process.env["PATH"],
        NODE_OPTIONS: collectsGarbage,
        CAPSTAN_DATABASE_URL: url.href,
        CAPSTAN_NATS_URL: `nats://${addressOf(toNats)}`,
        ...Object.fromEntries(
          others.map(([name, proxy]) => [`CAPSTAN_${name.toUpperCase()}_ADDRESS`, addressOf(proxy)]),
        ),
        ...(service === "execution" ? executionSettings(workDirectory) : {}),
        ...(service === "provider" ? { CAPSTAN_EXPIRE_INTERVAL_MS: "2000" } : {}),
      };
      const own = { postgres: toPostgres, nats: toNats, ...Object.fromEntries(others) };
      return describeService(label, service, { grpcAddress, healthAddress }, env, own);
    }),
  );
  const workers = await Promise.all(
    repeat(workerCount, async (n) => {
      const label = `worker-${n}`;
      const ways = await Promise.all(grpcOf("execution").map((to, at) => link(label, `execution-${at + 1}`, [to])));
      const args = [pool, String(workerSlots), ledgerPath, ...ways.map(addressOf)];
      return createWorkerNode(label, args, Object.fromEntries(ways.map((way, at) => [`execution-${at + 1}`, way])));
    }),
  );
  const ways = await Promise.all(
    serviceNames.map(async (name) => [name, addressOf(await link("user", name, grpcOf(name)))] as const),
  );
  const user = connectTo(Object.fromEntries(ways));
  const observer = connectTo(
    Object.fromEntries(places.map(({ service, grpcAddress }) => [service, grpcAddress] as const)),
  );
  const query = openQuery(databaseUrl);

  async function start(): Promise<void> {
    await Promise.all(services.map((service) => service.start()));
    await registerProviders(observer, typeof engine === "string" ? null : engine);
    await Promise.all(workers.map((worker) => worker.start()));
    await eventually(async () => {
      const [row] = await query("select count(*)::int as count from execution.worker where is_connected");
      return row?.["count"] === workerCount;
    }, 180_000);
  }

  async function stop(): Promise<readonly string[]> {
    const nodes = [...workers, ...services];
    for (const proxy of links.values()) proxy.heal();
    for (const node of nodes) node.thaw();
    user.close();
    observer.close();
    const ended = nodes.map((node) => node.unexpectedEnd());
    await Promise.all(workers.map((worker) => worker.stop()));
    const times = await Promise.all(
      services.map(async (service) => [service.label, service.isRunning() ? await service.stop() : 0] as const),
    );
    const slow = times.filter(([, ms]) => ms > 25_000).map(([label, ms]) => `${label} took ${ms} ms to stop`);
    return [...ended.filter((end) => end !== null), ...slow];
  }

  async function remove(): Promise<void> {
    await query.end();
    await Promise.all([...links.values()].map((proxy) => proxy.close()));
    if (typeof engine !== "string") await engine.close();
    await Promise.all([postgres.release(), nats.release()]);
    await rm(directory, { recursive: true, force: true });
  }

  return {
    directory,
    ledgerPath,
    postgres,
    nats,
    engine: typeof engine === "string" ? null : engine,
    whyNoEngine: typeof engine === "string" ? engine : "",
    services,
    workers,
    links,
    user,
    observer,
    databaseUrl,
    secret: password,
    query,
    start,
    stop,
    remove,
  };
}

function executionSettings(workDirectory: string): NodeJS.ProcessEnv {
  return {
    CAPSTAN_WORK_DIR: workDirectory,
    CAPSTAN_LEASE_MS: String(leaseMs),
    CAPSTAN_WORKER_LEASE_MS: String(leaseMs),
    CAPSTAN_TAKE_OVER_INTERVAL_MS: "2000",
    CAPSTAN_REAP_INTERVAL_MS: "5000",
    CAPSTAN_PROBE_INTERVAL_MS: "2000",
    CAPSTAN_LOG_CAP_BYTES: String(1024 * 1024),
  };
}

function repeat<T>(count: number, make: (number: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at + 1));
}

async function place(service: ServiceName, number: number): Promise<Place> {
  const port = await findFreePort();
  const health = await findFreePort();
  return {
    label: `${service}-${number}`,
    service,
    grpc: { host, port },
    grpcAddress: `${host}:${port}`,
    healthAddress: `${host}:${health}`,
  };
}

function portOf(proxy: LinkProxy): number {
  return (proxy.listen as { port: number }).port;
}

function addressOf(proxy: LinkProxy): string {
  return `${host}:${portOf(proxy)}`;
}

function connectTo(addresses: Readonly<Record<string, string>>): Capstan {
  const { job = "", provider = "", execution = "", orchestrator = "" } = addresses;
  return connect({
    address: job,
    addresses: { providers: provider, executions: execution, sagas: orchestrator },
    deadlineMs: 10_000,
  });
}

async function makeDatabase(serverUrl: string): Promise<string> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  await client.query("create database chaos");
  await client.end();
  const url = new URL(serverUrl);
  url.pathname = "/chaos";
  await ensureRoles({ adminUrl: url.href, services: serviceNames.map((schema) => ({ schema, password })) });
  return url.href;
}

type Query = Platform["query"] & { end(): Promise<void> };

/** One connection, made again after it was lost; a statement that failed is not repeated. */
function openQuery(url: string): Query {
  let client: Client | null = null;
  let turn: Promise<unknown> = Promise.resolve();
  async function once(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    if (client === null) {
      const made = new Client({
        connectionString: url,
        connectionTimeoutMillis: 3_000,
        query_timeout: 60_000,
        application_name: "chaos",
      });
      made.on("error", () => {});
      await made.connect();
      client = made;
    }
    try {
      return (await client.query<Record<string, unknown>>(text, [...values])).rows;
    } catch (error) {
      const lost = client;
      client = null;
      void lost.end().catch(() => {});
      throw error;
    }
  }
  const query = (text: string, values: readonly unknown[] = []) => {
    const answer = turn.then(() => once(text, values));
    turn = answer.catch(() => {});
    return answer;
  };
  return Object.assign(query, {
    end: async () => {
      await turn;
      await client?.end().catch(() => {});
    },
  });
}

async function registerProviders({ providers, queues }: Capstan, engine: Engine | null): Promise<void> {
  const common = { labels: {}, endpoint: "" };
  const capacity = { slots: 16, cpuMillis: 0, memoryMib: 0 };
  await providers.registerProvider({ name: "local", kind: "PROVIDER_KIND_PROCESS", capacity, ...common });
  if (engine !== null) {
    const kind = "PROVIDER_KIND_DOCKER";
    const small = { ...capacity, slots: 4 };
    await providers.registerProvider({ name: "docker", kind, capacity: small, ...common, endpoint: engine.endpoint });
  }
  const settings = QueueSettings.fromPartial({ weight: 1, maxRunning: narrow.maxRunning });
  await queues.setQueue({ queue: narrow.name, settings, etag: "" });
}

/** Of this queue no more than this may run at once, whatever happens. */
export const narrow = { name: "narrow", maxRunning: 3 } as const;
