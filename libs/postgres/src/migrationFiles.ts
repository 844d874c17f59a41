/** Migrations as plain SQL files, `NNN_verb_noun.up.sql` and `.down.sql`, in the form knex wants them. */
import { readdir, readFile } from "node:fs/promises";
import type { Knex } from "knex";

export interface MigrationFile {
  /** `base/001_create_event_log`: what the schema remembers, so that it must never change. */
  readonly name: string;
  readonly directory: URL;
}

/** Those of every schema come first. Refuses one that cannot be undone, and two with the same number. */
export async function listMigrations(directory: URL): Promise<readonly MigrationFile[]> {
  const base = await listDirectory(new URL("../migrations/", import.meta.url), "base/");
  return [...base, ...(await listDirectory(directory, ""))];
}

async function listDirectory(url: URL, prefix: string): Promise<readonly MigrationFile[]> {
  const directory = new URL(url.href.endsWith("/") ? url.href : `${url.href}/`);
  const files = (await readdir(directory)).filter((file) => file.endsWith(".sql")).sort();
  const ups = files.filter((file) => /^\d{3}_[a-z0-9_]+\.up\.sql$/.test(file)).map((file) => file.slice(0, -7));
  const expected = ups.flatMap((name) => [`${name}.down.sql`, `${name}.up.sql`]).sort();
  const numbers = new Set(ups.map((name) => name.slice(0, 3)));
  if (String(files) !== String(expected) || numbers.size !== ups.length) {
    throw new Error(
      `${directory.pathname}: each migration is NNN_verb_noun.up.sql and .down.sql, NNN once; found ${files}`,
    );
  }
  return ups.map((name) => ({ name: `${prefix}${name}`, directory }));
}

/** The files as knex's migrations, each run with the search path of its schema. */
export function toKnexSource(files: readonly MigrationFile[], schema: string): Knex.MigrationSource<MigrationFile> {
  return {
    getMigrations: async () => [...files],
    getMigrationName: (file) => file.name,
    getMigration: async (file) => ({
      up: (knex) => runFile(knex, file, "up", schema),
      down: (knex) => runFile(knex, file, "down", schema),
    }),
  };
}

async function runFile(knex: Knex, file: MigrationFile, direction: "up" | "down", schema: string): Promise<void> {
  const name = file.name.slice(file.name.lastIndexOf("/") + 1);
  const sql = await readFile(new URL(`${name}.${direction}.sql`, file.directory), "utf8");
  await knex.raw(`set local search_path = ??`, [schema]);
  // knex would take a question mark (an operator of json) for a parameter.
  await knex.raw(sql.replaceAll("?", "\\?"));
}
