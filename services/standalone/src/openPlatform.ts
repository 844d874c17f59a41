/**
 * The whole platform in one process: Postgres and NATS (embedded unless given), the services, one gRPC and one health
 * server. The services speak gRPC and NATS with each other as they do when each runs alone; nothing is called directly.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { configSchema as executionConfig, start as startExecution } from "@capstan/execution-service";
import { configSchema as gatewayConfig, start as startGateway } from "@capstan/gateway-service";
import { configSchema as jobConfig, start as startJob } from "@capstan/job-service";
import { configSchema as orchestratorConfig, start as startOrchestrator } from "@capstan/orchestrator-service";
import { ensureRoles, roleUrl } from "@capstan/postgres";
import { configSchema as providerConfig, start as startProvider } from "@capstan/provider-service";
import { type App, createApp, createLogger, openGrpc, openHealth, type RunningApp, readConfig } from "@capstan/service";
import type { z } from "zod";
import type { Config } from "./config.ts";
import { startEmbeddedNats } from "./embeddedNats.ts";
import { startEmbeddedPostgres } from "./embeddedPostgres.ts";

/** Where the platform listens. */
export interface Platform {
  readonly grpcAddress: string;
  readonly healthAddress: string;
  /** Of the REST API and the console. */
  readonly httpUrl: string;
  readonly natsUrl: string;
  /** The administrator's, with its password. */
  readonly postgresUrl: string;
}

/** Opens everything; what was opened is registered with `root` and closed with it, services first. */
export async function openPlatform(root: RunningApp, config: Config): Promise<Platform> {
  const [postgresUrl, natsUrl] = await Promise.all([openPostgres(root, config), openNats(root, config)]);
  const passwords = {
    job: newPassword(),
    provider: newPassword(),
    execution: newPassword(),
    orchestrator: newPassword(),
    gateway: newPassword(),
  };
  const credentials = Object.entries(passwords).map(([schema, password]) => ({ schema, password }));
  await root.untilReady("postgres", () => ensureRoles({ adminUrl: postgresUrl, services: credentials }));

  const environment = {
    ...process.env,
    CAPSTAN_HTTP_ADDRESS: config.CAPSTAN_HTTP_ADDRESS,
    CAPSTAN_PUBLIC_PATH: config.CAPSTAN_PUBLIC_PATH,
    CAPSTAN_NATS_URL: natsUrl,
    CAPSTAN_JOB_ADDRESS: config.CAPSTAN_GRPC_ADDRESS,
    CAPSTAN_PROVIDER_ADDRESS: config.CAPSTAN_GRPC_ADDRESS,
    CAPSTAN_EXECUTION_ADDRESS: config.CAPSTAN_GRPC_ADDRESS,
    CAPSTAN_ORCHESTRATOR_ADDRESS: config.CAPSTAN_GRPC_ADDRESS,
  };
  const apps: RunningApp[] = [root];
  function open<S extends z.ZodType, R>(
    schema: keyof typeof passwords,
    shape: S,
    start: (app: App, config: z.infer<S>) => Promise<R>,
  ): Promise<R> {
    const app = createApp(schema, createLogger(schema, config.CAPSTAN_LOG_LEVEL));
    apps.push(app);
    root.onStop(() => app.stop());
    const database = roleUrl(postgresUrl, { schema, password: passwords[schema] });
    return start(app, readConfig(shape, { ...environment, CAPSTAN_DATABASE_URL: database }));
  }

  const health = await openHealth(apps, config.CAPSTAN_HEALTH_ADDRESS);
  root.onStop(health.stop);
  const [{ httpAddress }] = await Promise.all([
    open("gateway", gatewayConfig, startGateway),
    open("job", jobConfig, startJob),
    open("provider", providerConfig, startProvider),
    open("execution", executionConfig, startExecution),
    open("orchestrator", orchestratorConfig, startOrchestrator),
  ]);
  const grpc = await openGrpc(apps, config, root.log);
  root.onStop(grpc.stop);
  for (const app of apps) app.markStarted();
  const httpUrl = `http://${httpAddress}${config.CAPSTAN_PUBLIC_PATH}`;
  return { grpcAddress: grpc.address, healthAddress: health.address, httpUrl, natsUrl, postgresUrl };
}

/** Made anew at each start and set with it, so that no password has to be kept. */
function newPassword(): string {
  return randomBytes(24).toString("base64url");
}

async function openPostgres(root: RunningApp, config: Config): Promise<string> {
  if (config.CAPSTAN_DATABASE_URL !== undefined) return config.CAPSTAN_DATABASE_URL;
  const directory = join(config.CAPSTAN_DATA_DIR, "postgres");
  const server = await startEmbeddedPostgres({ directory, port: config.CAPSTAN_POSTGRES_PORT });
  root.onStop(server.stop);
  return server.url;
}

async function openNats(root: RunningApp, config: Config): Promise<string> {
  if (config.CAPSTAN_NATS_URL !== undefined) return config.CAPSTAN_NATS_URL;
  const directory = join(config.CAPSTAN_DATA_DIR, "nats");
  const server = await startEmbeddedNats({ directory, port: config.CAPSTAN_NATS_PORT });
  root.onStop(server.stop);
  return server.url;
}
