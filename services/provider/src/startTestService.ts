/** The provider service on a database of its own, reached over gRPC as its users do; nothing publishes its facts. */
import { connectTo, type PromiseClient, serve } from "@capstan/grpc";
import { listFacts, openPool, type Pool, type StoredFact, uuidv7 } from "@capstan/postgres";
import {
  type CapacityRequest,
  type PoolAnswer,
  type PoolReport,
  ProviderInternalServiceClient,
  ProviderInternalServiceService,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import {
  ProviderServiceClient,
  ProviderServiceService,
  RegisterProviderRequest,
} from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { createMigratedDatabase, createTestLog } from "../../../test/support/database.ts";
import { type Capacity, createCapacity } from "./capacity.ts";
import { createProviderInternalService } from "./providerInternalService.ts";
import { createProviderService } from "./providerService.ts";

export interface TestService {
  readonly pool: Pool;
  readonly capacity: Capacity;
  readonly users: PromiseClient<ProviderServiceClient>;
  readonly orchestrator: PromiseClient<ProviderInternalServiceClient>;
  /** Registers a process provider of so many slots and lets a good probe be seen; gives back its id. */
  ready(name: string, slots: number, fields?: Partial<RegisterProviderRequest>): Promise<string>;
  /** Reports a pool of one worker, as it was observed at this call unless told otherwise; gives back the answer. */
  report(pool?: Partial<PoolReport>): Promise<PoolAnswer>;
  factsOf(providerId: string): Promise<readonly (StoredFact & { readonly data: object })[]>;
  /** Forgets everything, for the next test. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

export async function startTestService(): Promise<TestService> {
  const database = await createMigratedDatabase("provider", new URL("../migrations/", import.meta.url));
  const log = createTestLog();
  const pool = openPool({ url: database.url, schema: "provider", max: 10, log });
  const capacity = createCapacity(pool);
  const server = await serve({
    address: "127.0.0.1:0",
    services: [
      { definition: ProviderServiceService, implementation: { ...createProviderService({ pool }) } },
      {
        definition: ProviderInternalServiceService,
        implementation: { ...createProviderInternalService({ pool, capacity, failureThreshold: 3 }) },
      },
    ],
    health: () => true,
    log,
  });
  const address = `127.0.0.1:${server.port}`;
  const users = connectTo(ProviderServiceClient, address);
  const orchestrator = connectTo(ProviderInternalServiceClient, address);
  return {
    pool,
    capacity,
    users,
    orchestrator,
    async ready(name, slots, fields = {}) {
      const capacity = { slots, cpuMillis: 0, memoryMib: 0 };
      const request = RegisterProviderRequest.fromPartial({ name, kind: "PROVIDER_KIND_PROCESS", capacity, ...fields });
      const { provider } = await users.registerProvider(request);
      const providerId = provider?.id ?? "";
      await orchestrator.reportHealth({ observations: [{ providerId, isGood: true, message: "" }] });
      return providerId;
    },
    async report(fields = {}) {
      const { answers } = await orchestrator.reportPools({ pools: [aReport(fields)] });
      return answers[0] ?? { providerId: "", refusal: "no answer" };
    },
    factsOf: async (providerId) =>
      (await listFacts(pool, providerId, 0, 1_000)).map((fact) => ({ ...fact, data: JSON.parse(fact.json) as object })),
    async clear() {
      await pool.query("truncate provider, reservation, event, outbox");
    },
    async stop() {
      users.close();
      orchestrator.close();
      await server.stop();
      await pool.end();
      await database.drop();
    },
  };
}

/** A request for one slot, held for a minute. */
export function aRequest(fields: Partial<CapacityRequest> = {}): CapacityRequest {
  return {
    reservationId: uuidv7(),
    tenant: "default",
    jobId: uuidv7(),
    jobName: "job",
    resources: { slots: 1, cpuMillis: 0, memoryMib: 0 },
    placement: undefined,
    needsImage: false,
    handler: "",
    hold: { seconds: 60, nanos: 0 },
    ...fields,
  };
}

let observed = 0;

/** A pool of one worker of five slots with one handler; each is observed a second after the one before. */
export function aReport(fields: Partial<PoolReport> = {}): PoolReport {
  const groups = [{ handlers: ["resize"], labels: {}, workers: 1, slots: 5 }];
  return { tenant: "default", name: "pool", groups, observeTime: new Date(++observed * 1_000), ...fields };
}

export function requests(count: number, fields: Partial<CapacityRequest> = {}): CapacityRequest[] {
  return Array.from({ length: count }, () => aRequest(fields));
}

export function idsOf(requests: readonly CapacityRequest[]): string[] {
  return requests.map(({ reservationId }) => reservationId);
}
