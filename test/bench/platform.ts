/** The platform as `npm start` runs it, on the servers of the bench. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { claimPort } from "../../services/standalone/src/loopbackPort.ts";
import { spawnTied } from "../support/spawnTied.ts";
import type { Servers } from "./servers.ts";

export interface Platform {
  readonly pid: number;
  readonly grpcAddress: string;
  /** Of REST, without a slash at the end. */
  readonly httpUrl: string;
  /** Calls that its gRPC server has answered so far, streams that have ended among them. */
  rpcs(): Promise<number>;
  stop(): Promise<void>;
}

export async function startPlatform(servers: Servers): Promise<Platform> {
  const [grpc, health, http] = await Promise.all(Array.from({ length: 3 }, () => claimPort(0, "the bench")));
  const grpcAddress = `127.0.0.1:${grpc}`;
  const root = join(import.meta.dirname, "../..");
  // Its flags keep the heap small.
  const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { scripts: { start: string } };
  const child = spawnTied([process.execPath, ...scripts.start.split(" ").slice(1)], {
    cwd: root,
    env: {
      ...process.env,
      CAPSTAN_DATABASE_URL: servers.postgres.url,
      CAPSTAN_NATS_URL: servers.nats.url,
      CAPSTAN_GRPC_ADDRESS: grpcAddress,
      CAPSTAN_HEALTH_ADDRESS: `127.0.0.1:${health}`,
      CAPSTAN_HTTP_ADDRESS: `127.0.0.1:${http}`,
      CAPSTAN_DATA_DIR: servers.directory,
    },
    stdout: "pipe",
    stderr: "inherit",
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on("data", (text: Buffer) => text.toString().includes("ready") && resolve());
    child.once("exit", (code) => reject(new Error(`the platform ended with ${code}`)));
  });
  return {
    pid: child.pid ?? 0,
    grpcAddress,
    httpUrl: `http://127.0.0.1:${http}`,
    async rpcs() {
      const page = await (await fetch(`http://127.0.0.1:${health}/metrics`)).text();
      const counts = page.matchAll(/^rpc_server_duration\w*_count\{.*\} (\d+)/gm);
      return counts.reduce((sum, [, count]) => sum + Number(count), 0);
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}
