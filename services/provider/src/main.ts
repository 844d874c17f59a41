/** The provider service from start to end: what is opened here is closed in reverse. */
import { checkupIntervalMs, createCheckup } from "@capstan/doctor/checkup";
import { connectNats, createPublisher, ensureStream } from "@capstan/messaging";
import { migrate, openPool, startRelay } from "@capstan/postgres";
import { ProviderInternalServiceService } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { ProviderServiceService } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { type App, runService } from "@capstan/service";
import { createCapacity } from "./capacity.ts";
import { type Config, configSchema } from "./config.ts";
import { startExpiry, startPruning } from "./expireReservations.ts";
import { createProviderInternalService } from "./providerInternalService.ts";
import { createProviderService } from "./providerService.ts";

const schema = "provider";
const hour = 3_600_000;
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

  const capacity = createCapacity(pool);
  const failureThreshold = config.CAPSTAN_HEALTH_FAILURE_THRESHOLD;
  app.addService(ProviderServiceService, createProviderService({ pool }));
  app.addService(ProviderInternalServiceService, createProviderInternalService({ pool, capacity, failureThreshold }));

  startExpiry(app, capacity, config.CAPSTAN_EXPIRE_INTERVAL_MS);
  startPruning(app, pool, config.CAPSTAN_RESERVATION_RETENTION_HOURS * hour);
}

if (import.meta.main) await runService("provider", configSchema, start);
