/**
 * Migrations of one schema by knex. All of a run are one transaction, under a lock of ours: the lock of knex is a row that stays when
 * its holder is killed, and every later start would fail on it.
 */
import knex, { type Knex } from "knex";
import { Client } from "pg";
import { listMigrations, type MigrationFile, toKnexSource } from "./migrationFiles.ts";

export interface MigrateOptions {
  readonly url: string;
  /** Made when it is missing and the role may do that. */
  readonly schema: string;
  /** Holds the service's own migrations, which follow the base ones of this lib. */
  readonly directory: URL;
  /** "down" undoes the last migration, "reset" undoes all; "up" when absent. */
  readonly direction?: "up" | "down" | "reset";
}

/** Brings the schema to the wanted state and gives back the names of what was run, in that order. Waits for another's run. */
export async function migrate(options: MigrateOptions): Promise<readonly string[]> {
  const files = await listMigrations(options.directory);
  return underLock(options.url, options.schema, () =>
    withKnex(options, files, async (db) => {
      await db.migrate.forceFreeMigrationsLock(); // we hold the lock that counts
      const [, names] = (await run(db, options.direction ?? "up")) as [number, string[]];
      return names;
    }),
  );
}

/** Every migration there is, in order, and whether the schema has it. */
export async function migrationStatus(
  options: Omit<MigrateOptions, "direction">,
): Promise<readonly { readonly name: string; readonly applied: boolean }[]> {
  const files = await listMigrations(options.directory);
  return underLock(options.url, options.schema, () =>
    withKnex(options, files, async (db) => {
      const [applied] = (await db.migrate.list()) as [{ name: string }[], MigrationFile[]];
      const names = new Set(applied.map(({ name }) => name));
      return files.map(({ name }) => ({ name, applied: names.has(name) }));
    }),
  );
}

function run(db: Knex, direction: "up" | "down" | "reset"): Promise<unknown> {
  if (direction === "up") return db.migrate.latest();
  return direction === "down" ? db.migrate.down() : db.migrate.rollback(undefined, true);
}

async function withKnex<T>(
  { url, schema }: { url: string; schema: string },
  files: readonly MigrationFile[],
  work: (db: Knex) => Promise<T>,
): Promise<T> {
  const silent = () => {}; // what it would say is in the error that it throws
  const db = knex({
    client: "pg",
    connection: { connectionString: url, application_name: `capstan-${schema}-migrate`, statement_timeout: 0 },
    pool: { min: 0, max: 1 },
    migrations: { schemaName: schema, migrationSource: toKnexSource(files, schema) },
    log: { warn: silent, error: silent, debug: silent, deprecate: silent },
  });
  try {
    return await work(db);
  } finally {
    await db.destroy();
  }
}

/** The lock is one of a transaction, not of the session, so that it holds behind PgBouncer too. */
async function underLock<T>(url: string, schema: string, work: () => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on("error", () => {}); // the statement that needs it will fail
  await client.connect();
  try {
    await client.query("begin");
    await client.query("set local statement_timeout = 0; set local lock_timeout = 0");
    await client.query("set local idle_in_transaction_session_timeout = 0");
    await client.query("select pg_advisory_xact_lock(hashtextextended('capstan.migrate.' || $1, 0))", [schema]);
    await ensureSchema(client, url, schema);
    return await work();
  } finally {
    await client.query("rollback").catch(() => {});
    await client.end();
  }
}

/** On a connection of its own: the one with the lock never commits. */
async function ensureSchema(locked: Client, url: string, schema: string): Promise<void> {
  const { rows } = await locked.query<{ there: boolean }>("select to_regnamespace($1) is not null as there", [schema]);
  if (rows[0]?.there) return;
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`create schema if not exists ${client.escapeIdentifier(schema)}`);
  } finally {
    await client.end();
  }
}
