/** A Postgres for one spec file that does to it what the other files would not survive. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "../../services/standalone/src/embeddedPostgres.ts";
import type { EmbeddedServer } from "../../services/standalone/src/embeddedServer.ts";
import { findFreePort } from "./freePort.ts";

export interface TestPostgres {
  /** Superuser, database `postgres`. */
  readonly url: string;
  /** As a crash would: kill -9; what was committed stays. */
  kill(): Promise<void>;
  /** Starts it again on its port after `kill` or `stop`. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** Stops it and removes its directory; for `afterAll`. */
  release(): Promise<void>;
}

/** Starts in some 3 s, which is what making a cluster takes. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-postgres-"));
  const start = (port: number) => startEmbeddedPostgres({ directory, port, settings: { max_connections: "200" } });
  let server: EmbeddedServer = await start(await findFreePort());
  const { url, port } = server;
  return {
    url,
    kill: async () => {
      process.kill(server.pid, "SIGKILL");
      await server.stop();
    },
    restart: async () => {
      server = await start(port);
    },
    stop: () => server.stop(),
    release: async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
