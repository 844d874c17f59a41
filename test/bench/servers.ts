/** The Postgres and the NATS of a bench: real ones, embedded, with their durable defaults, in a directory that goes away with them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { startEmbeddedNats } from "../../services/standalone/src/embeddedNats.ts";
import { startEmbeddedPostgres } from "../../services/standalone/src/embeddedPostgres.ts";

export interface Servers {
  readonly directory: string;
  readonly postgres: { readonly url: string; readonly pid: number };
  readonly nats: { readonly url: string; readonly pid: number };
  /** In a database of its own, so that what it asks is told apart from what it measures. */
  readonly admin: Client;
  /** Makes an empty database and gives its URL back. */
  createDatabase(name: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startServers(): Promise<Servers> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-bench-"));
  const settings = { shared_preload_libraries: "pg_stat_statements" };
  const postgres = await startEmbeddedPostgres({ directory: join(directory, "postgres"), port: 0, settings });
  const nats = await startEmbeddedNats({ directory: join(directory, "nats"), port: 0 });

  async function createDatabase(name: string): Promise<string> {
    const root = new Client({ connectionString: postgres.url });
    await root.connect();
    await root.query(`create database ${name}`);
    await root.end();
    const url = new URL(postgres.url);
    url.pathname = `/${name}`;
    return url.href;
  }

  const admin = new Client({ connectionString: await createDatabase("bench") });
  await admin.connect();
  await admin.query("create extension pg_stat_statements");
  return {
    directory,
    postgres,
    nats,
    admin,
    createDatabase,
    async stop() {
      await admin.end();
      await nats.stop();
      await postgres.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
