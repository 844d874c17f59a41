/** The whole platform in one process, as `npm start` runs it, with an embedded Postgres of its own. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Capstan, connect } from "@capstan/client";
import { claimPort } from "../../services/standalone/src/loopbackPort.ts";
import { bareEnv } from "./bareEnv.ts";
import { eventually } from "./eventually.ts";
import { spawnTied } from "./spawnTied.ts";

export interface Standalone {
  readonly capstan: Capstan;
  /** Where its services listen, as `host:port`. */
  readonly address: string;
  /** What /metrics answers. */
  scrape(): Promise<string>;
  stop(): Promise<void>;
}

const main = fileURLToPath(new URL("../../services/standalone/src/main.ts", import.meta.url));

/** Answers when its provider `local` can be used. `env` goes before what it is given otherwise. */
export async function startStandalone(env: NodeJS.ProcessEnv = {}): Promise<Standalone> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-standalone-"));
  // All at once, because a port that was given back may be given again.
  const [grpc, health] = await Promise.all(Array.from({ length: 2 }, () => claimPort(0, "a test")));
  const child = spawnTied([process.execPath, main], {
    env: {
      ...bareEnv,
      CAPSTAN_DATA_DIR: directory,
      CAPSTAN_GRPC_ADDRESS: `127.0.0.1:${grpc}`,
      CAPSTAN_HEALTH_ADDRESS: `127.0.0.1:${health}`,
      CAPSTAN_HTTP_ADDRESS: "127.0.0.1:0",
      CAPSTAN_NATS_PORT: "0",
      CAPSTAN_POSTGRES_PORT: "0",
      ...env,
    },
    stdout: "ignore",
    stderr: "inherit",
  });
  const capstan = connect({ address: `127.0.0.1:${grpc}` });
  const standalone: Standalone = {
    capstan,
    address: `127.0.0.1:${grpc}`,
    scrape: async () => (await fetch(`http://127.0.0.1:${health}/metrics`)).text(),
    async stop() {
      capstan.close();
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      const { provider } = await capstan.providers.getProvider({ provider: "local" });
      return provider?.health === "PROVIDER_HEALTH_HEALTHY";
    }, 60_000);
    return standalone;
  } catch (error) {
    await standalone.stop();
    throw error;
  }
}
