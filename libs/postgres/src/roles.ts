/** The roles of the services: each owns one schema and has no rights in any other. */
import { Client } from "pg";
import { sessionSettings } from "./pool.ts";

interface RolesOptions {
  /** A superuser, or a role that may create roles and schemas. */
  readonly adminUrl: string;
  readonly services: readonly { readonly schema: string; readonly password: string }[];
}

/**
 * Creates the login role `capstan_<schema>` and its schema for each service, or brings them to this state. May be repeated, and
 * done by several processes at once. The password is set each time.
 */
export async function ensureRoles({ adminUrl, services }: RolesOptions): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await retryOnRace(async () => {
      await client.query("begin");
      await client.query("select pg_advisory_xact_lock(hashtextextended('capstan.roles', 0))");
      await client.query("revoke create on schema public from public");
      for (const { schema, password } of services) await ensureRole(client, schema, password);
      await client.query("commit");
    }, client);
  } finally {
    await client.end();
  }
}

/** The address of a service's own role on the server of another one's address. */
export function roleUrl(adminUrl: string, service: { readonly schema: string; readonly password: string }): string {
  const url = new URL(adminUrl);
  url.username = roleOf(service.schema);
  url.password = encodeURIComponent(service.password);
  return url.href;
}

function roleOf(schema: string): string {
  return `capstan_${schema}`;
}

async function ensureRole(client: Client, schema: string, password: string): Promise<void> {
  const role = client.escapeIdentifier(roleOf(schema));
  const owned = client.escapeIdentifier(schema);
  const { rowCount } = await client.query("select from pg_roles where rolname = $1", [roleOf(schema)]);
  if (rowCount === 0) await client.query(`create role ${role}`);
  await client.query(`alter role ${role} login noinherit password ${client.escapeLiteral(password)}`);
  for (const [name, value] of Object.entries(sessionSettings(schema))) {
    await client.query(`alter role ${role} set ${name} = ${client.escapeLiteral(value)}`);
  }
  // An administrator who is no superuser may give a schema only to a role that it can become.
  await client.query(`
    do $$ begin
      if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant %I to current_user', ${client.escapeLiteral(roleOf(schema))});
      end if;
    end $$`);
  await client.query(`create schema if not exists ${owned} authorization ${role}`);
  await client.query(`alter schema ${owned} owner to ${role}`);
}

// Roles belong to the whole cluster and an advisory lock to one database, so that two of these can still meet.
async function retryOnRace(work: () => Promise<void>, client: Client): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      await client.query("rollback");
      const isRace = /tuple concurrently updated|already exists|duplicate key/.test(String(error));
      if (!isRace || attempt === 20) throw error;
    }
  }
}
