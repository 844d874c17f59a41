/** `npm start`: the whole platform in one process, until it is told to stop. */
import { ConfigError, createApp, createLogger, readConfig, runUntilStopped, startTracing } from "@capstan/service";
import { type Config, configSchema } from "./config.ts";
import { registerDefaultProviders } from "./defaultProviders.ts";
import { openPlatform } from "./openPlatform.ts";

const config = configOrExit();
const app = createApp("standalone", createLogger("standalone", config.CAPSTAN_LOG_LEVEL));
await runUntilStopped(
  app,
  async () => {
    app.onStop(await startTracing("standalone"));
    const platform = await openPlatform(app, config);
    if (config.CAPSTAN_PROVIDERS) await registerDefaultProviders(platform.grpcAddress);
    return platform;
  },
  ({ grpcAddress, healthAddress, httpUrl, natsUrl, postgresUrl }) => {
    const postgres = new URL(postgresUrl);
    postgres.password = "";
    console.log(
      `Capstan is ready: ${httpUrl} · gRPC ${grpcAddress} · NATS ${natsUrl} · Postgres ${postgres.href} · health http://${healthAddress}`,
    );
  },
);

function configOrExit(): Config {
  try {
    return readConfig(configSchema, process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}
