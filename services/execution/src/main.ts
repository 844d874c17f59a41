/** The execution service from start to end: what is opened here is closed in reverse. */
import { checkupIntervalMs, createCheckup } from "@capstan/doctor/checkup";
import { connectTo } from "@capstan/grpc";
import { connectNats, createPublisher, ensureStream } from "@capstan/messaging";
import { createRepairs, migrate, openPool, startRelay } from "@capstan/postgres";
import { ExecutionInternalServiceService } from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { ExecutionServiceService } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { WorkerServiceService } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { ProviderInternalServiceClient } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { type App, runService } from "@capstan/service";
import { openBackend } from "./backends/openBackend.ts";
import { createBackends } from "./backends.ts";
import { type Config, configSchema } from "./config.ts";
import { createExecutionInternalService } from "./executionInternalService.ts";
import { createExecutionService } from "./executionService.ts";
import { startHandOver } from "./handOver.ts";
import { createLogWriter } from "./logWriter.ts";
import { createRunnerMetrics } from "./metrics.ts";
import { startProbes } from "./probeProviders.ts";
import { startReaper } from "./reapExecutions.ts";
import { createPoolReports, startKeepingWorkers } from "./reportPools.ts";
import { createRunner } from "./runner.ts";
import { startRunnerLease } from "./runnerLease.ts";
import { readInstallation } from "./runnerStore.ts";
import { startSavingProgress } from "./saveProgress.ts";
import { startTakeOver } from "./takeOverLost.ts";
import { createWakes } from "./wakes.ts";
import { createWorkerRecords } from "./workerRecords.ts";
import { createWorkerService } from "./workerService.ts";
import { type ConnectedWorker, createWorkers } from "./workers.ts";

const schema = "execution";
export const migrations = new URL("../migrations/", import.meta.url);
export { configSchema };

// Of the 25 s a process has to stop: what cannot be handed over is asked, waited for, killed and recorded.
const shutDownMs = 18_000;

export async function start(app: App, config: Config): Promise<void> {
  const { log } = app;
  await app.untilReady("postgres", () => migrate({ url: config.CAPSTAN_DATABASE_URL, schema, directory: migrations }));
  const statementTimeoutMs = config.CAPSTAN_STATEMENT_TIMEOUT_MS;
  const pool = openPool({ url: config.CAPSTAN_DATABASE_URL, schema, max: 8, statementTimeoutMs, log });
  app.onStop(() => pool.end());
  app.addCheck("postgres", async () => void (await pool.query("select 1")));

  const nats = await app.untilReady("nats", () => connectNats({ url: config.CAPSTAN_NATS_URL, name: schema, log }));
  app.onStop(() => nats.close());
  app.addCheck("nats", async () => void (await nats.rtt()));
  await app.untilReady("stream", () => ensureStream(nats, { context: schema }, log));

  const publish = createPublisher({ nc: nats, context: schema, db: pool, log });
  startRelay({ pool, context: schema, publish, log, app });
  const checkup = createCheckup({ pool, schema, log });
  app.startLoop({ name: "examine-invariants", intervalMs: checkupIntervalMs, once: checkup.once });
  app.addCheckup(checkup.last);

  const installation = await readInstallation(pool);
  const leaseMs = config.CAPSTAN_WORKER_LEASE_MS;
  const workers = createWorkers(leaseMs);
  const backends = createBackends(({ kind, endpoint }) =>
    openBackend(kind, { endpoint, installation, workDirectory: config.CAPSTAN_WORK_DIR, workers, log }),
  );
  app.onStop(() => backends.close());
  const lease = await app.untilReady("postgres", () =>
    startRunnerLease({ app, pool, leaseMs: config.CAPSTAN_LEASE_MS }),
  );
  app.onStop(() => lease.release());

  const metrics = createRunnerMetrics();
  const wakes = createWakes();
  const capBytes = config.CAPSTAN_LOG_CAP_BYTES;
  const logs = createLogWriter({ db: pool, capBytes, wakes, log, onStored: metrics.stored });
  const runner = createRunner({
    pool,
    lease,
    backends,
    workers,
    logs,
    wakes,
    containerStarts: config.CAPSTAN_CONTAINER_STARTS,
    onStarted: metrics.started,
    onEnded: metrics.ended,
    log,
  });
  metrics.watch(runner.states);
  lease.onLost(runner.letGo);
  lease.onRenewal(runner.drain);
  app.onStop(() => runner.shutDown(shutDownMs));
  // At once and not in its turn: the servers in front take their time to drain.
  app.signal.addEventListener("abort", () => void runner.shutDown(shutDownMs));

  const tell = createRepairs({ pool, context: schema, log });
  const reaper = startReaper({ app, pool, backends, lease, runner, tell, intervalMs: config.CAPSTAN_REAP_INTERVAL_MS });
  startTakeOver({
    app,
    pool,
    lease,
    runner,
    tell,
    intervalMs: config.CAPSTAN_TAKE_OVER_INTERVAL_MS,
    stopPollMs: config.CAPSTAN_STOP_POLL_MS,
  });

  const deadline = { deadlineMs: config.CAPSTAN_CALL_TIMEOUT_MS };
  const providers = connectTo(ProviderInternalServiceClient, config.CAPSTAN_PROVIDER_ADDRESS, deadline);
  app.onStop(() => providers.close());
  const probes = startProbes({
    app,
    backends,
    providers,
    intervalMs: config.CAPSTAN_PROBE_INTERVAL_MS,
    timeoutMs: config.CAPSTAN_PROBE_TIMEOUT_MS,
  });
  // Hints only, so that the first job of a new provider does not wait for the next round.
  for (const event of ["registered", "activated", "updated"]) {
    nats.subscribe(`capstan.v1.*.provider.provider.${event}.*`, { callback: () => probes.wake() });
  }

  const reports = createPoolReports({ pool, providers, log });
  const onChange = () => keeping.wake();
  const records = createWorkerRecords({ pool, lease, leaseMs, onChange });
  const keeping = startKeepingWorkers({ app, pool, lease, workers, records, reports, leaseMs });
  const progress = startSavingProgress({ app, pool, lease });
  const onDraining = ({ registration }: ConnectedWorker) =>
    void records.suspend(registration, "draining").catch(() => {});
  const onMissed = (refs: readonly string[]) =>
    void tell({ repair: "miss-execution", message: "a worker did not have what it was assigned", refs });
  // Hints only: without them it is found when the reaper looks next.
  const hint = (runnerId: string) => `capstan.hint.runner.${runnerId}`;
  nats.subscribe(hint("*"), {
    callback: (_, { subject }) => {
      if (subject === hint(lease.id)) reaper.wake();
    },
  });
  const onHandedOver = (runnerIds: readonly string[]) => {
    for (const id of runnerIds) nats.publish(hint(id));
  };
  startHandOver({ app, pool, lease, runner, workers, onHandedOver });
  app.addService(
    WorkerServiceService,
    createWorkerService({
      pool,
      lease,
      workers,
      connections: new Map(),
      records,
      reports,
      runner,
      leaseMs,
      onProgress: progress.note,
      onDraining,
      onMissed,
    }),
  );
  app.addService(ExecutionServiceService, createExecutionService({ db: pool, wakes, isWrittenHere: runner.knows }));
  app.addService(
    ExecutionInternalServiceService,
    createExecutionInternalService({ pool, runner, onUnknown: reaper.wake }),
  );
}

if (import.meta.main) await runService("execution", configSchema, start);
