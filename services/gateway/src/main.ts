/**
 * The gateway from start to end: what is opened here is closed in reverse. In standalone `start` is all of it, because the gRPC server
 * there has the services of all contexts already.
 */
import { connectNats } from "@capstan/messaging";
import { migrate, openPool } from "@capstan/postgres";
import { SessionServiceService } from "@capstan/proto/capstan/gateway/v1/session_service.ts";
import { type App, runService } from "@capstan/service";
import { type Config, configSchema } from "./config.ts";
import { createHttpServer, listen } from "./httpServer.ts";
import { servePage } from "./page.ts";
import { createSessionService } from "./sessionService.ts";

const schema = "gateway";
export const migrations = new URL("../migrations/", import.meta.url);
export { configSchema };

/** Gives back where HTTP listens. */
export async function start(app: App, config: Config): Promise<{ readonly httpAddress: string }> {
  const { log } = app;
  await app.untilReady("postgres", () => migrate({ url: config.CAPSTAN_DATABASE_URL, schema, directory: migrations }));
  const pool = openPool({ url: config.CAPSTAN_DATABASE_URL, schema, log });
  app.onStop(() => pool.end());
  app.addCheck("postgres", async () => void (await pool.query("select 1")));

  const nats = await app.untilReady("nats", () => connectNats({ url: config.CAPSTAN_NATS_URL, name: schema, log }));
  app.onStop(() => nats.close());
  app.addCheck("nats", async () => void (await nats.rtt()));

  app.addService(SessionServiceService, createSessionService(pool));

  const http = await createHttpServer(config, log);
  servePage(http, config.CAPSTAN_PUBLIC_PATH);
  const httpAddress = await listen(http, config.CAPSTAN_HTTP_ADDRESS);
  app.onStop(() => http.close());
  return { httpAddress };
}

if (import.meta.main) await runService("gateway", configSchema, start);
