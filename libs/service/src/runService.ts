/** One service as a process, from its configuration to its ready line. */
import type { z } from "zod";
import { type App, createApp } from "./app.ts";
import { type BaseConfig, ConfigError, readConfig } from "./config.ts";
import { openGrpc } from "./grpcServer.ts";
import { openHealth } from "./healthServer.ts";
import { createLogger } from "./log.ts";
import { startTracing } from "./tracing.ts";
import { runUntilStopped } from "./untilStopped.ts";

/**
 * Runs one service as a process: configuration (a bad one ends it with code 2), log, traces, health, `start`, gRPC, and then one
 * line on stdout that says it is ready, with what `start` gives back. Resolves at that point; from then on signals decide.
 */
export async function runService<S extends z.ZodType<BaseConfig>>(
  name: string,
  schema: S,
  start: (app: App, config: z.infer<S>) => Promise<unknown>,
): Promise<void> {
  const config = configOrExit(name, schema);
  const app = createApp(name, createLogger(name, config.CAPSTAN_LOG_LEVEL));
  await runUntilStopped(app, async () => {
    app.onStop(await startTracing(name));
    const health = await openHealth([app], config.CAPSTAN_HEALTH_ADDRESS);
    app.onStop(health.stop);
    const facts = await start(app, config);
    const grpc = await openGrpc([app], config, app.log);
    app.onStop(grpc.stop);
    return { grpcAddress: grpc.address, healthAddress: health.address, ...(facts as object | undefined) };
  });
}

function configOrExit<S extends z.ZodType>(name: string, schema: S): z.infer<S> {
  try {
    return readConfig(schema, process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exit(2);
  }
}
