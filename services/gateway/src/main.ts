/**
 * The gateway from start to end: what is opened here is closed in reverse. In standalone `start` is all of it, because the gRPC server
 * there has the services of all contexts already.
 */
import { connectNats } from "@capstan/messaging";
import { migrate, openPool } from "@capstan/postgres";
import { PlatformServiceService } from "@capstan/proto/capstan/gateway/v1/platform_service.ts";
import { SessionServiceService } from "@capstan/proto/capstan/gateway/v1/session_service.ts";
import { type App, runService } from "@capstan/service";
import { serveApi } from "./api.ts";
import { type Config, configSchema } from "./config.ts";
import { serveConnect } from "./connectDoor.ts";
import { readContracts } from "./contracts.ts";
import { serveDocs } from "./docs.ts";
import { openFrontDoor } from "./frontDoor.ts";
import {
  createClose,
  createHttpServer,
  listen,
  maxBodyBytes,
  maxHeaderBytes,
  maxUrlBytes,
  rateWindowMs,
} from "./httpServer.ts";
import { maxDepth } from "./jsonBody.ts";
import { createLive } from "./live.ts";
import { servePage } from "./page.ts";
import { createPlatformService, version } from "./platformService.ts";
import { createSessionService } from "./sessionService.ts";
import { connectUpstreams } from "./upstreams.ts";

const schema = "gateway";
export const migrations = new URL("../migrations/", import.meta.url);
export { configSchema };

export interface Started {
  /** Where HTTP listens. */
  readonly httpAddress: string;
  /** Adds the public services of the contexts to the process, for one that has not got them itself. */
  openFrontDoor(): void;
}

export async function start(app: App, config: Config): Promise<Started> {
  const { log } = app;
  await app.untilReady("postgres", () => migrate({ url: config.CAPSTAN_DATABASE_URL, schema, directory: migrations }));
  const pool = openPool({ url: config.CAPSTAN_DATABASE_URL, schema, log });
  app.onStop(() => pool.end());
  app.addCheck("postgres", async () => void (await pool.query("select 1")));

  const nats = await app.untilReady("nats", () => connectNats({ url: config.CAPSTAN_NATS_URL, name: schema, log }));
  app.onStop(() => nats.close());
  app.addCheck("nats", async () => void (await nats.rtt()));

  const contracts = readContracts();
  const upstreams = connectUpstreams(config);
  app.onStop(() => upstreams.close());
  const limits = {
    ...{ maxBodyBytes, maxHeaderBytes, maxUrlBytes, maxDepth, rateWindowMs },
    rateLimit: config.CAPSTAN_HTTP_RATE_LIMIT,
  };
  const checks = { postgres: () => pool.query("select 1"), nats: () => nats.rtt() };
  const own = [
    { definition: SessionServiceService, implementation: createSessionService(pool) },
    {
      definition: PlatformServiceService,
      implementation: createPlatformService({ contracts, upstreams, checks, limits }),
    },
  ];
  for (const { definition, implementation } of own) {
    app.addService(definition, implementation);
    upstreams.addOwn({ definition, implementation });
  }

  const http = await createHttpServer(config, log);
  const publicPath = config.CAPSTAN_PUBLIC_PATH;
  serveApi(http, { contracts, upstreams, publicPath, checkAnswers: config.CAPSTAN_HTTP_CHECK_ANSWERS });
  serveDocs(http, { contracts, version, publicPath });
  await serveConnect(http, { contracts, upstreams, publicPath });
  const live = createLive({ app, config, pool, nats });
  await live.register(http);
  servePage(http, publicPath);
  app.onStop(createClose(http));
  const httpAddress = await listen(http, config.CAPSTAN_HTTP_ADDRESS);
  // First of all: a stream that is open would keep the server from closing.
  app.onStop(() => live.close());
  return { httpAddress, openFrontDoor: () => openFrontDoor(app, contracts, upstreams) };
}

if (import.meta.main) {
  await runService("gateway", configSchema, async (app, config) => {
    const { httpAddress, openFrontDoor: open } = await start(app, config);
    open();
    return { httpAddress };
  });
}
