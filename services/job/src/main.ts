/** The job service from start to end: what is opened here is closed in reverse. */
import { checkupIntervalMs, createCheckup } from "@capstan/doctor/checkup";
import { connectNats, createPublisher, ensureStream } from "@capstan/messaging";
import { migrate, openPool, startRelay } from "@capstan/postgres";
import { JobInternalServiceService } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { JobServiceService } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { ScheduleServiceService } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { TemplateServiceService } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { type App, runService } from "@capstan/service";
import { type Config, configSchema } from "./config.ts";
import { startFireSchedules } from "./fireSchedules.ts";
import { startTimers } from "./fireTimers.ts";
import type { Job } from "./job.ts";
import { createJobInternalService } from "./jobInternalService.ts";
import { createJobService } from "./jobService.ts";
import { createMoveJobs } from "./moveJobs.ts";
import { createPlans } from "./plans.ts";
import { createQueueLimits } from "./queueLimits.ts";
import { createScheduleService } from "./scheduleService.ts";
import { createAccept, createNoteBorn } from "./submitJobs.ts";
import { startJobTelemetry } from "./telemetry.ts";
import { createTemplateService } from "./templateService.ts";

const schema = "job";
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
  await app.untilReady("stream", () => ensureStream(nats, { context: schema }, log));

  const publish = createPublisher({ nc: nats, context: schema, db: pool, log });
  startRelay({ pool, context: schema, publish, log, app });
  const checkup = createCheckup({ pool, schema, log });
  app.startLoop({ name: "examine-invariants", intervalMs: checkupIntervalMs, once: checkup.once });
  app.addCheckup(checkup.last);
  const noteJobs = startJobTelemetry(pool);
  const onCommit = (jobs: readonly Job[]) => {
    plans.note(jobs);
    timers.remind(jobs);
    schedules.noteJobs(jobs);
    noteJobs(jobs);
  };
  const plans = createPlans();
  const moveJobs = createMoveJobs(pool, plans, onCommit);
  const noteBorn = createNoteBorn(onCommit, (ms) => timers.remindIn(ms));
  const timers = startTimers(app, { pool, plans, moveJobs, noteBorn });
  const limits = createQueueLimits(pool, (err) => log.error({ err }, "limits of queues could not be read"));
  const schedules = startFireSchedules(app, { pool, nats, plans, limits, moveJobs, noteBorn });
  const accept = createAccept(pool, plans, limits, noteBorn);

  app.addService(JobServiceService, createJobService({ pool, nats, accept, moveJobs }));
  app.addService(JobInternalServiceService, createJobInternalService(pool, moveJobs, limits));
  app.addService(TemplateServiceService, createTemplateService(pool));
  app.addService(
    ScheduleServiceService,
    createScheduleService({ pool, plans, limits, noteBorn, onChange: schedules.noteChanged }),
  );
}

if (import.meta.main) await runService("job", configSchema, start);
