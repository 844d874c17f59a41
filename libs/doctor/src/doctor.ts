/**
 * A visit to a platform from outside: straight to its database, its broker and its engines, so that it works while the services are
 * down. It needs a role that may read all schemas, and to repair one that may write them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { Client } from "pg";
import { type Examination, examine, type Finding, repair, seenTwice } from "./examine.ts";
import { schemas } from "./invariant.ts";
import { type InvariantName, invariants } from "./invariants.ts";
import { findWorkloads } from "./listWorkloads.ts";
import type { BrokerState, Observed } from "./observed.ts";
import { readBroker } from "./readBroker.ts";

export interface DoctorOptions {
  readonly databaseUrl: string;
  /** Servers, separated by commas. */
  readonly natsUrl: string;
  /** How long something may be under way before it counts. */
  readonly graceMs: number;
  /** After which a finding is looked for again: one that is gone by then was only on its way. */
  readonly againMs: number;
  /** Findings of one invariant at most. */
  readonly limit: number;
  /** Facts of each stream at most, the newest. */
  readonly streamLimit: number;
  /** For the statement of one invariant. */
  readonly timeoutMs: number;
}

interface Unexamined {
  readonly name: InvariantName;
  /** Why, for people. */
  readonly why: string;
}

export interface Report {
  readonly examined: number;
  /** Those with findings. */
  readonly broken: readonly Examination[];
  readonly unexamined: readonly Unexamined[];
  /** Providers whose engine does not answer from here. */
  readonly silentEngines: readonly string[];
}

export interface Doctor {
  /** The role that was connected with, and the schemas that it cannot read because they are missing or because it may not. */
  readonly access: {
    readonly role: string;
    readonly missing: readonly string[];
    readonly forbidden: readonly string[];
  };
  examine(names: readonly InvariantName[]): Promise<Report>;
  /** In one transaction, with the fact that `actor` has done it. */
  repair(name: InvariantName, findings: readonly Finding[], actor: string): Promise<void>;
  close(): Promise<void>;
}

interface Sighting {
  readonly observed: Observed;
  readonly silentEngines: readonly string[];
  /** Why the broker was not seen; null if it was, or if nobody wanted to. */
  readonly brokerFailure: string | null;
}

/** Fails when the database cannot be reached; a broker or an engine that cannot is told in the report. */
export async function connectDoctor(options: DoctorOptions): Promise<Doctor> {
  const client = new Client({
    connectionString: options.databaseUrl,
    application_name: "capstan doctor",
    connectionTimeoutMillis: 10_000,
  });
  client.on("error", () => {}); // the statement that needs it will fail
  await client.connect();

  /** Statement by statement, so that nothing is held back from being cleaned up while the next is examined. */
  async function inTransaction<T>(work: () => Promise<T>): Promise<T> {
    await client.query("begin");
    try {
      await client.query(`set local statement_timeout = ${options.timeoutMs}; ${ownPlans}`);
      const result = await work();
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    }
  }

  async function look(names: readonly InvariantName[], { observed }: Sighting): Promise<readonly Examination[]> {
    const run = (statement: { text: string; values: string[] }) =>
      inTransaction(async () => (await client.query<Partial<Finding>>(statement)).rows);
    return examine(run, { names, observed, settleMs: options.graceMs, limit: options.limit });
  }

  async function see(names: readonly InvariantName[]): Promise<Sighting> {
    const wanted = new Set(names.map((name) => invariants[name].sees));
    let brokerFailure: string | null = null;
    const broker =
      wanted.has("streams") || wanted.has("consumers")
        ? await seeBroker(options, wanted.has("streams")).catch((error: unknown) => {
            brokerFailure = `NATS does not answer: ${error instanceof Error ? error.message : error}`;
            return undefined;
          })
        : undefined;
    const found = wanted.has("workloads") ? await inTransaction(() => findWorkloads(client)) : undefined;
    return {
      observed: { ...(broker && { broker }), ...(found && { workloads: found.workloads, engines: found.engines }) },
      silentEngines: found?.silent ?? [],
      brokerFailure,
    };
  }

  const access = await readAccess(client);
  return {
    access,
    async examine(names) {
      const seen = await see(names);
      const first = await look(names, seen);
      const suspects = first.filter(({ findings }) => findings.length > 0).map(({ name }) => name);
      if (suspects.length > 0) await sleep(options.againMs);
      const again = suspects.length > 0 ? await look(suspects, await see(suspects)) : [];
      const second = new Map(again.map((examination) => [examination.name, examination]));
      const kept = first.map((before) => {
        const after = second.get(before.name) ?? before;
        return { ...after, findings: seenTwice(before.findings, after.findings) };
      });
      const answered = new Set(first.map(({ name }) => name));
      return {
        examined: kept.filter(({ failure }) => failure === null).length,
        broken: kept.filter(({ findings }) => findings.length > 0),
        unexamined: [
          ...kept.flatMap(({ name, failure }) => (failure === null ? [] : [{ name, why: failure }])),
          ...names
            .filter((name) => !answered.has(name))
            .map((name) => ({ name, why: seen.brokerFailure ?? "it was not looked at" })),
        ],
        silentEngines: seen.silentEngines,
      };
    },
    repair: (name, findings, actor) => inTransaction(() => repair(client, name, findings, actor)),
    close: () => client.end(),
  };
}

/** A role of a service is told to look rows up one by one, which is right for everything but this. */
const ownPlans = `
  set local enable_seqscan = on; set local enable_hashjoin = on; set local enable_mergejoin = on;
  set local enable_bitmapscan = on; set local plan_cache_mode = auto; set local jit = off`;

async function readAccess(client: Client): Promise<Doctor["access"]> {
  const { rows } = await client.query<{ role: string; schema: string; is_there: boolean; is_readable: boolean }>(
    `select current_user as role, schema, n.oid is not null as is_there,
            n.oid is not null and has_schema_privilege(n.oid, 'usage')
              and coalesce((select bool_and(has_table_privilege(c.oid, 'select'))
                              from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p')), true) as is_readable
       from unnest($1::text[]) as schema left join pg_namespace n on n.nspname = schema`,
    [[...schemas]],
  );
  return {
    role: rows[0]?.role ?? "",
    missing: rows.filter(({ is_there }) => !is_there).map(({ schema }) => schema),
    forbidden: rows.filter(({ is_there, is_readable }) => is_there && !is_readable).map(({ schema }) => schema),
  };
}

async function seeBroker({ natsUrl, streamLimit }: DoctorOptions, withFacts: boolean): Promise<BrokerState> {
  const nats = await openNats(natsUrl);
  try {
    return await readBroker(nats, withFacts ? streamLimit : 0);
  } finally {
    await nats.close();
  }
}

/** The client takes no user from an address. */
function openNats(url: string): Promise<NatsConnection> {
  const addresses = url.split(",").map((server) => new URL(server));
  const { username = "", password = "" } = addresses[0] ?? {};
  const user = username === "" ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
  const servers = addresses.map(({ protocol, host }) => `${protocol}//${host}`);
  return connect({ servers, name: "capstan doctor", timeout: 3_000, reconnect: false, ...user });
}
