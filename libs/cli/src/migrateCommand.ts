/** `capstan migrate …`: the schemas of the services. Speaks to Postgres itself; the platform need not run. */
import { existsSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { ensureRoles, migrate, migrationStatus, roleUrl } from "@capstan/postgres";
import { type Command, Option } from "commander";
import { UnreachableError, UsageError } from "./failure.ts";
import { collect, withOutput } from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";
import { formatTable } from "./table.ts";

const servicesDirectory = new URL("../../../services/", import.meta.url);

interface Schema {
  /** Also the service's name. */
  readonly schema: string;
  readonly directory: URL;
}

interface MigrateOptions {
  readonly output: OutputFormat;
  readonly databaseUrl: string;
  readonly service?: readonly string[];
  readonly ensureRoles?: true;
  readonly yes?: true;
}

/** The schemas of the services that were named, or of all that have migrations. */
function chooseSchemas(names: readonly string[] | undefined): readonly Schema[] {
  const all = readdirSync(servicesDirectory)
    .map((schema) => ({ schema, directory: new URL(`${schema}/migrations/`, servicesDirectory) }))
    .filter(({ directory }) => existsSync(directory));
  for (const name of names ?? []) {
    if (all.some(({ schema }) => schema === name)) continue;
    throw new UsageError(
      `no service "${name}" has migrations; there are ${all.map(({ schema }) => schema).join(", ")}`,
    );
  }
  return names === undefined ? all : all.filter(({ schema }) => names.includes(schema));
}

/** Roles get their passwords from the environment, never from arguments, which every user of a machine can see. */
function passwordOf(schema: string): string {
  const name = `CAPSTAN_DATABASE_PASSWORD_${schema.toUpperCase()}`;
  const password = process.env[name];
  if (password === undefined || password === "")
    throw new UsageError(`set ${name}, the password of role capstan_${schema}`);
  return password;
}

/** Creates the roles when asked to; gives back the address to migrate each schema at, in its owner's name then. */
async function prepareUrls(schemas: readonly Schema[], options: MigrateOptions): Promise<ReadonlyMap<string, string>> {
  const { databaseUrl } = options;
  if (!options.ensureRoles) return new Map(schemas.map(({ schema }) => [schema, databaseUrl]));
  const services = schemas.map(({ schema }) => ({ schema, password: passwordOf(schema) }));
  await ensureRoles({ adminUrl: databaseUrl, services });
  return new Map(services.map((service) => [service.schema, roleUrl(databaseUrl, service)]));
}

async function run(direction: "up" | "down" | "reset", options: MigrateOptions): Promise<void> {
  const schemas = chooseSchemas(options.service);
  if (direction === "reset") await confirmReset(schemas, options);
  const results = await speakingToPostgres(options, async () => {
    const urls = await prepareUrls(schemas, options);
    const done: { schema: string; migration: string }[] = [];
    for (const { schema, directory } of schemas) {
      const url = urls.get(schema) ?? options.databaseUrl;
      const names = await migrate({ url, schema, directory, direction });
      done.push(...names.map((migration) => ({ schema, migration })));
    }
    return done;
  });
  await print(options.output, results, () =>
    results.length === 0
      ? "nothing to do\n"
      : formatTable(results, [
          { title: "SCHEMA", cell: ({ schema }) => schema },
          { title: direction === "up" ? "APPLIED" : "UNDONE", cell: ({ migration }) => migration },
        ]),
  );
}

async function confirmReset(schemas: readonly Schema[], { yes }: MigrateOptions): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY) throw new UsageError("reset deletes data; give --yes to do it without being asked");
  const names = schemas.map(({ schema }) => schema).join(", ");
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question(`This deletes all data of ${names}. Type "reset" to go on: `);
  prompt.close();
  if (answer.trim() !== "reset") throw new UsageError("nothing was changed");
}

async function printStatus(options: MigrateOptions): Promise<void> {
  const rows = await speakingToPostgres(options, async () => {
    const found: { schema: string; migration: string; applied: boolean }[] = [];
    for (const { schema, directory } of chooseSchemas(options.service)) {
      const status = await migrationStatus({ url: options.databaseUrl, schema, directory });
      found.push(...status.map(({ name, applied }) => ({ schema, migration: name, applied })));
    }
    return found;
  });
  await print(options.output, rows, () =>
    formatTable(rows, [
      { title: "SCHEMA", cell: ({ schema }) => schema },
      { title: "MIGRATION", cell: ({ migration }) => migration },
      {
        title: "STATE",
        cell: ({ applied }) => (applied ? { text: "applied", colour: "green" } : { text: "pending", colour: "yellow" }),
      },
    ]),
  );
}

/** Tells an absent Postgres from one that refuses, whose own error says why. */
async function speakingToPostgres<T>({ databaseUrl }: MigrateOptions, work: () => Promise<T>): Promise<T> {
  if (!URL.canParse(databaseUrl))
    throw new UsageError("--database-url must be postgres://user:password@host:port/database");
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code !== "ECONNREFUSED" && code !== "ENOTFOUND" && code !== "ETIMEDOUT") throw error;
    throw new UnreachableError(`cannot reach Postgres at ${new URL(databaseUrl).host}; set CAPSTAN_DATABASE_URL`, {
      cause: error,
    });
  }
}

function withDatabase(command: Command): Command {
  return withOutput(command)
    .addOption(
      new Option("--database-url <url>", "a role that owns the schemas, or may create them")
        .env("CAPSTAN_DATABASE_URL")
        .makeOptionMandatory(),
    )
    .option("--service <name>", "only this one; may be repeated", collect);
}

/** Adds the commands to `capstan migrate`. */
export function addMigrateCommands(migrateCommand: Command): void {
  withDatabase(migrateCommand.command("up"))
    .description("Apply what is not applied yet.")
    .option("--ensure-roles", "first create a role per service, with CAPSTAN_DATABASE_PASSWORD_<SERVICE>")
    .action((options: MigrateOptions) => run("up", options));
  withDatabase(migrateCommand.command("down"))
    .description("Undo the last migration of each schema.")
    .action((options: MigrateOptions) => run("down", options));
  withDatabase(migrateCommand.command("status"))
    .description("List migrations and whether they are applied.")
    .action(printStatus);
  withDatabase(migrateCommand.command("reset"))
    .description("Undo every migration, and with them delete all data.")
    .option("--yes", "do not ask")
    .action(async (options: MigrateOptions) => {
      await run("reset", options);
      note("the schemas are empty; capstan migrate up fills them again");
    });
}
