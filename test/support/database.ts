/** Databases for spec files: each file has its own on the Postgres of the run, with the roles of the services it needs. */
import { randomUUID } from "node:crypto";
import { ensureRoles, type Log, migrate, roleUrl } from "@capstan/postgres";
import { Client } from "pg";
import { inject } from "vitest";

export interface TestDatabase {
  /** Superuser on this database. */
  readonly adminUrl: string;
  /** The role of the first schema. */
  readonly url: string;
  /** The role of any schema it was made with. */
  readonly urlOf: (schema: string) => string;
  /** Takes it away even while connections are open. */
  readonly drop: () => Promise<void>;
}

/** Roles belong to the whole server, so that all spec files agree on one password. */
const password = "test-password";

/** An empty database with an empty schema for each name. Needs the global set-up; takes some 50 ms. */
export function createTestDatabase(...schemas: readonly [string, ...string[]]): Promise<TestDatabase> {
  return createTestDatabaseOn(inject("postgresUrl"), ...schemas);
}

/** The same on any server, named by the address of its superuser. */
export async function createTestDatabaseOn(
  serverUrl: string,
  ...schemas: readonly [string, ...string[]]
): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await queryOnce(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  await ensureRoles({ adminUrl: url.href, services: schemas.map((schema) => ({ schema, password })) });
  const urlOf = (schema: string) => roleUrl(url.href, { schema, password });
  return {
    adminUrl: url.href,
    url: urlOf(schemas[0]),
    urlOf,
    drop: async () => {
      await queryOnce(serverUrl, `drop database ${name} with (force)`);
    },
  };
}

/** A database with the tables that every schema has, and those of the service whose folder of migrations is given. */
export async function createMigratedDatabase(schema: string, directory: URL = noMigrations): Promise<TestDatabase> {
  const database = await createTestDatabase(schema);
  await migrate({ url: database.url, schema, directory });
  return database;
}

/** An empty folder. */
export const noMigrations = new URL("./no-migrations/", import.meta.url);

/** One statement on a connection of its own. */
export async function queryOnce(url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** A log that keeps what was written to it, for tests of what is said. */
export function createTestLog(): Log & { readonly lines: { level: string; fields: object; message: string }[] } {
  const lines: { level: string; fields: object; message: string }[] = [];
  const write = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message });
  return { lines, debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
