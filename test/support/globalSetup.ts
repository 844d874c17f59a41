/**
 * One Postgres and one NATS for a whole test run, in a directory that is removed at its end. Spec files share the servers, not what
 * is in them: see `createTestDatabase` and `startTestNats`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startEmbeddedNats } from "../../services/standalone/src/embeddedNats.ts";
import { startEmbeddedPostgres } from "../../services/standalone/src/embeddedPostgres.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Superuser, database `postgres`. */
    postgresUrl: string;
    natsUrl: string;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-test-"));
  const [postgres, nats] = await Promise.all([
    startEmbeddedPostgres({ directory: join(directory, "postgres"), port: 0, settings: { max_connections: "400" } }),
    startEmbeddedNats({ directory: join(directory, "nats"), port: 0 }),
  ]);
  project.provide("postgresUrl", postgres.url);
  project.provide("natsUrl", nats.url);
  return async () => {
    await Promise.all([postgres.stop(), nats.stop()]);
    await rm(directory, { recursive: true, force: true });
  };
}
