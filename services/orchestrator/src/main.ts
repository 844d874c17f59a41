/** The orchestrator from start to end: what is opened here is closed in reverse. */
import { checkupIntervalMs, createCheckup } from "@capstan/doctor/checkup";
import { connectTo } from "@capstan/grpc";
import { connectNats, consumeFacts, createPublisher, ensureStream, type ReceivedFact } from "@capstan/messaging";
import { createRepairs, migrate, openPool, startRelay } from "@capstan/postgres";
import { ExecutionInternalServiceClient } from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { JobInternalServiceClient } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { QueueServiceService } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import { SagaServiceService } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { ProviderInternalServiceClient } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { type App, runService } from "@capstan/service";
import { type Config, configSchema } from "./config.ts";
import { createDrainRates } from "./drainRate.ts";
import { handleExecutionFacts, handleJobFacts } from "./handleFacts.ts";
import { createKnownQueues } from "./knownQueues.ts";
import { startPlacing } from "./placeSagas.ts";
import { createQueueService } from "./queueService.ts";
import { createRecentSagas } from "./recentSagas.ts";
import { startReconciling } from "./reconcile.ts";
import type { Saga } from "./runJob.ts";
import { createSagaService } from "./sagaService.ts";
import { startSagaTelemetry } from "./telemetry.ts";
import { startTellingLimits } from "./tellQueueLimits.ts";
import { startWaking } from "./wakeSagas.ts";

const schema = "orchestrator";
export const migrations = new URL("../migrations/", import.meta.url);
export { configSchema };

export async function start(app: App, config: Config): Promise<void> {
  const { log } = app;
  await app.untilReady("postgres", () => migrate({ url: config.CAPSTAN_DATABASE_URL, schema, directory: migrations }));
  const statementTimeoutMs = config.CAPSTAN_STATEMENT_TIMEOUT_MS;
  const pool = openPool({ url: config.CAPSTAN_DATABASE_URL, schema, statementTimeoutMs, log });
  app.onStop(() => pool.end());
  app.addCheck("postgres", async () => void (await pool.query("select 1")));

  const nats = await app.untilReady("nats", () => connectNats({ url: config.CAPSTAN_NATS_URL, name: schema, log }));
  app.onStop(() => nats.close());
  app.addCheck("nats", async () => void (await nats.rtt()));
  // Those it consumes too, so that the services may start in any order.
  for (const context of [schema, "job", "execution"]) {
    await app.untilReady("streams", () => ensureStream(nats, { context }, log));
  }

  const deadline = { deadlineMs: config.CAPSTAN_CALL_TIMEOUT_MS };
  const contexts = {
    jobs: connectTo(JobInternalServiceClient, config.CAPSTAN_JOB_ADDRESS, deadline),
    providers: connectTo(ProviderInternalServiceClient, config.CAPSTAN_PROVIDER_ADDRESS, deadline),
    executions: connectTo(ExecutionInternalServiceClient, config.CAPSTAN_EXECUTION_ADDRESS, deadline),
  };
  app.onStop(() => {
    for (const client of Object.values(contexts)) client.close();
  });

  const publish = createPublisher({ nc: nats, context: schema, db: pool, log });
  startRelay({ pool, context: schema, publish, log, app });
  const checkup = createCheckup({ pool, schema, log });
  app.startLoop({ name: "examine-invariants", intervalMs: checkupIntervalMs, once: checkup.once });
  app.addCheckup(checkup.last);
  const queues = createKnownQueues(pool);
  const base = { pool, contexts, queues, recent: createRecentSagas() };
  const noteSagas = startSagaTelemetry(pool);
  const drain = createDrainRates();
  const onPlaced = (sagas: readonly Saga[]) => {
    noteSagas(sagas);
    drain.note(sagas);
  };
  const placing = startPlacing(app, { ...base, onPlaced });
  // A queue may be changed at another replica. One fact more or less does no harm: they are also read every few seconds.
  nats.subscribe("capstan.v1.*.orchestrator.queue.*.*", { callback: () => placing.requeued() });
  const deps = { ...base, onFreed: placing.freed, placing };
  startWaking(app, deps, config.CAPSTAN_WAKE_INTERVAL_MS);
  startTellingLimits(app, { contexts, queues, drain });

  const handlers = {
    job: (facts: readonly ReceivedFact[]) => handleJobFacts(deps, facts),
    execution: (facts: readonly ReceivedFact[]) => handleExecutionFacts(deps, facts),
  };
  // What makes a step READY, and what ends it before its time; that a job runs or has ended is no news here.
  const wanted = [
    ...["job.job.submitted", "job.job.cancelling", "job.job.paused", "job.job.resumed", "job.step.*"],
    "execution.execution.*",
  ];
  const filterSubjects = wanted.map((fact) => `capstan.v1.*.${fact}.*`);
  for (const [context, handle] of Object.entries(handlers)) {
    const consumer = consumeFacts({
      nc: nats,
      db: pool,
      contexts: [context],
      durable: `orchestrator-${context}`,
      filterSubjects,
      maxBatch: 500,
      ackWaitMs: config.CAPSTAN_ACK_WAIT_MS,
      handle,
      log,
    });
    app.onStop(() => consumer.stop());
    app.addCheck(`consumer-${context}`, async () => {
      if (!consumer.isHealthy()) throw new Error("the consumer does not receive");
    });
  }

  const handleFacts = async (facts: readonly ReceivedFact[]) => {
    await handlers.job(facts.filter((fact) => fact.context === "job"));
    await handlers.execution(facts.filter((fact) => fact.context === "execution"));
  };
  startReconciling(app, {
    ...deps,
    handleJobFacts: handlers.job,
    tell: createRepairs({ pool, context: schema, log }),
    intervalMs: config.CAPSTAN_RECONCILE_INTERVAL_MS,
  });
  app.addService(SagaServiceService, createSagaService({ ...deps, handleFacts }));
  app.addService(QueueServiceService, createQueueService({ ...deps, drain }));
}

if (import.meta.main) await runService("orchestrator", configSchema, start);
