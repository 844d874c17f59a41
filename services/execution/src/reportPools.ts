/**
 * Keeps the leases of connected workers, notices those that fell silent, and tells the provider context what every pool is made
 * of. Costs nothing worth counting while no worker is there.
 */
import type { CallSettings, PromiseClient } from "@capstan/grpc";
import type { Pool } from "@capstan/postgres";
import type {
  PoolReport,
  ProviderInternalServiceClient,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { App, Loop } from "@capstan/service";
import type { RunnerLease } from "./runnerLease.ts";
import { toPoolReports } from "./workerProto.ts";
import type { WorkerRecords } from "./workerRecords.ts";
import { removePools, renewWorkers, surveyPools } from "./workerStore.ts";
import type { Workers } from "./workers.ts";

export interface PoolReports {
  /** Tells what the pool is made of now; gives back why it was refused, null when it was not or nobody answered. */
  reportNow(pool: { readonly tenant: string; readonly name: string }): Promise<string | null>;
}

interface ReportOptions {
  readonly pool: Pool;
  readonly providers: Pick<PromiseClient<ProviderInternalServiceClient>, "reportPools">;
  readonly log: { warn(fields: object, message: string): void };
}

/** What has not changed is told again after this, in case it got lost on the other side. */
const repeatMs = 60_000;

/** Pools in one call; the contract takes 1,000, but each may have many groups. */
const maxBatch = 100;
/** A worker that waits for the answer must not give up before. */
const patienceMs = 3_000;

export function createPoolReports({ pool: db, providers, log }: ReportOptions): PoolReports & {
  /** Tells what has changed since it was last told. */
  reportOnce(): Promise<void>;
} {
  const told = new Map<string, { readonly what: string; readonly atMs: number }>();

  async function tellAll(reports: readonly PoolReport[]): Promise<void> {
    for (let from = 0; from < reports.length; from += maxBatch) await tell(reports.slice(from, from + maxBatch));
  }

  async function tell(
    reports: readonly PoolReport[],
    settings: CallSettings = {},
  ): Promise<ReadonlyMap<string, string>> {
    if (reports.length === 0) return new Map();
    const { answers } = await providers.reportPools({ pools: [...reports] }, settings);
    const atMs = performance.now();
    for (const report of reports) told.set(keyOf(report), { what: contentOf(report), atMs });
    const refused = reports.flatMap((report, index): [string, string][] => {
      const { providerId = "", refusal = "" } = answers[index] ?? {};
      if (providerId !== "" && refusal === "") return [];
      return [[keyOf(report), refusal]];
    });
    const gone = reports.filter((report) => refused.some(([key]) => key === keyOf(report)));
    if (gone.length > 0) await removePools(db, gone);
    return new Map(refused);
  }

  return {
    async reportOnce() {
      const reports = toPoolReports(await surveyPools(db));
      const now = performance.now();
      await tellAll(
        reports.filter((report) => {
          const before = told.get(keyOf(report));
          return before?.what !== contentOf(report) || now - before.atMs > repeatMs;
        }),
      );
    },
    async reportNow(pool) {
      try {
        const reports = toPoolReports(await surveyPools(db));
        const ofPool = reports.filter((report) => keyOf(report) === keyOf(pool));
        const refused = await tell(ofPool, { deadlineMs: patienceMs });
        return refused.get(keyOf(pool)) || null;
      } catch (error) {
        log.warn({ err: error, pool: pool.name }, "a pool could not be reported; it is tried again");
        return null;
      }
    },
  };
}

function keyOf({ tenant, name }: { readonly tenant: string; readonly name: string }): string {
  return `${tenant}/${name}`;
}

function contentOf({ groups }: PoolReport): string {
  return JSON.stringify(groups);
}

interface KeepOptions {
  readonly app: Pick<App, "startLoop" | "log">;
  readonly pool: Pool;
  readonly lease: RunnerLease;
  readonly workers: Workers;
  readonly records: WorkerRecords;
  readonly reports: { reportOnce(): Promise<void> };
  readonly leaseMs: number;
}

export function startKeepingWorkers({ app, pool, lease, workers, records, reports, leaseMs }: KeepOptions): Loop {
  let lastMs = Number.NEGATIVE_INFINITY;
  // At first for those of the runner before this one.
  let busyUntilMs = performance.now() + 2 * leaseMs;
  let isChanged = true;

  const loop = app.startLoop({
    name: "keep-workers",
    intervalMs: leaseMs / 3,
    once: async () => {
      const now = performance.now();
      // The row of a worker that is gone from here lives until its own lease is over.
      if (workers.all().next().done !== true) busyUntilMs = now + 2 * leaseMs;
      loseSilent(workers, leaseMs, app.log);
      const connected = [...workers.all()].filter(({ link }) => link !== null);
      // Later only those of runners that died may be left behind.
      const isDue = isChanged || now < busyUntilMs || now - lastMs > repeatMs;
      if (!isDue) return;
      isChanged = false;
      lastMs = now;
      if (connected.length > 0) {
        const ids = connected.map(({ registration }) => registration.id);
        const kept = await renewWorkers(pool, lease.id, ids, leaseMs);
        // Its row lapsed during an outage, or says otherwise: nobody counts on it until it has registered again.
        for (const worker of connected) if (!kept.has(worker.registration.id)) workers.turnAway(worker);
      }
      await records.removeLapsed();
      await reports.reportOnce();
    },
  });
  return {
    ...loop,
    wake() {
      isChanged = true;
      loop.wake();
    },
  };
}

/** A worker that said nothing for a lease has lost what it had, whether its connection stands or not. */
function loseSilent(workers: Workers, leaseMs: number, log: { warn(fields: object, message: string): void }): void {
  const deadMs = performance.now() - leaseMs;
  for (const worker of [...workers.all()]) {
    if (worker.heardMs > deadMs) continue;
    const { id, pool } = worker.registration;
    log.warn({ workerId: id, pool, executions: worker.executions.size }, "a worker was silent for too long");
    workers.remove(worker, `its worker was silent for ${leaseMs / 1_000} s`);
  }
}
