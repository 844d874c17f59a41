/**
 * Runs the rules of invariantRules.ts against a platform, from outside: an administrator's connection over all schemas, the streams as
 * a client sees them, processes and containers as the machine shows them.
 */
import { Client } from "pg";
import { expect } from "vitest";
import { type BrokerState, readBroker } from "./broker.ts";
import { eventually } from "./eventually.ts";
import { type InvariantName, invariantRules } from "./invariantRules.ts";
import { serviceNames } from "./serviceProcess.ts";
import type { Platform } from "./startPlatform.ts";
import { listWorkloads, type Workload } from "./workloads.ts";

/** What is not in the database. */
export interface Observed extends BrokerState {
  readonly workloads: readonly Workload[];
  /** Jobs whose submit was answered. */
  readonly acknowledged: readonly string[];
}

export interface Violation {
  readonly rule: InvariantName;
  /** What breaks it; at most 5, and how many there are. */
  readonly refs: readonly string[];
  readonly count: number;
}

export interface ExpectOptions {
  /** Ids of jobs that were answered; those must be there. */
  readonly acknowledged?: readonly string[];
  /** How long the platform may take to come to rest; 60,000 when absent. */
  readonly timeoutMs?: number;
}

/** Waits until nothing is under way, then fails with every rule that is broken and what breaks it. */
export async function expectNoViolations(
  platform: Pick<Platform, "database" | "nats" | "engine">,
  { acknowledged = [], timeoutMs = 60_000 }: ExpectOptions = {},
): Promise<void> {
  const client = new Client({ connectionString: platform.database.adminUrl });
  await client.connect();
  const check = async () => {
    const observed = {
      workloads: await listWorkloads(platform.engine),
      ...(await readBroker(platform.nats.url)),
      acknowledged,
    };
    expect(await findViolations(client, observed)).toEqual([]);
  };
  try {
    await eventually(() => isAtRest(client), timeoutMs).catch(() => {}); // then the rules say what is not
    // What a broken connection had in hand comes again after 10 s.
    await eventually(check, 20_000).catch(() => check());
  } finally {
    await client.end();
  }
}

/** Cheap enough to ask often: no live job, saga or reservation, and nothing to publish. */
async function isAtRest(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ busy: boolean }>(`
    select exists (select from job.job where end_time is null)
        or exists (select from orchestrator.saga where stage not in ('DONE', 'COMPENSATED'))
        or exists (select from provider.reservation where end_time is null)
        or ${serviceNames.map((schema) => `exists (select from ${schema}.outbox)`).join(" or ")} as busy`);
  return rows[0]?.busy === false;
}

/** Every broken rule, in one picture of the database. Leaves nothing behind, whatever transaction it is called in. */
export async function findViolations(client: Pick<Client, "query">, observed: Observed): Promise<readonly Violation[]> {
  await client.query("begin isolation level repeatable read");
  try {
    await loadObserved(client, observed);
    return await checkRules(client);
  } finally {
    await client.query("rollback");
  }
}

/** The same inside a transaction of the caller's, which must be rolled back. */
export async function checkRules(client: Pick<Client, "query">): Promise<readonly Violation[]> {
  const violations: Violation[] = [];
  for (const [rule, text] of Object.entries(invariantRules) as [InvariantName, string][]) {
    const { rows } = await client.query<{ ref: string }>(text);
    if (rows.length > 0) violations.push({ rule, refs: rows.slice(0, 5).map(({ ref }) => ref), count: rows.length });
  }
  return violations;
}

/** Makes the temporary tables that the rules read. */
export async function loadObserved(client: Pick<Client, "query">, observed: Observed): Promise<void> {
  const everySchema = (columns: (schema: string) => string) =>
    serviceNames.map((schema) => `select '${schema}' as context, ${columns(schema)}`).join(" union all ");
  await client.query(`
    create temp view fact as ${everySchema((schema) => `e.* from ${schema}.event e`)};
    create temp view unpublished as ${everySchema((schema) => `unnest(o.aggregate_ids) as aggregate_id, unnest(o.sequences) as sequence from ${schema}.outbox o`)};
    create temp view letter as
      ${everySchema((schema) => `d.subject, d.error from ${schema}.dead_letter d where d.resolve_time is null`)};
    create temp table streamed (context text, position bigint, id text, aggregate_id text, sequence int, type text);
    create temp table consumer (name text, delivered bigint, last_position bigint, pending bigint, in_hand bigint);
    create temp table workload (execution_id text, ref text);
    create temp table acknowledged (job_id uuid);`);
  const { facts, consumers, workloads, acknowledged } = observed;
  await client.query(
    `insert into streamed select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::int[], $6::text[])`,
    [
      facts.map(({ context }) => context),
      facts.map(({ position }) => position),
      facts.map(({ id }) => id),
      facts.map(({ aggregateId }) => aggregateId),
      facts.map(({ sequence }) => sequence),
      facts.map(({ type }) => type),
    ],
  );
  await client.query(
    `insert into consumer select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])`,
    [
      consumers.map(({ name }) => name),
      consumers.map(({ delivered }) => delivered),
      consumers.map(({ lastPosition }) => lastPosition),
      consumers.map(({ pending }) => pending),
      consumers.map(({ inHand }) => inHand),
    ],
  );
  await client.query("insert into workload select * from unnest($1::text[], $2::text[])", [
    workloads.map(({ executionId }) => executionId),
    workloads.map(({ ref }) => ref),
  ]);
  await client.query("insert into acknowledged select * from unnest($1::uuid[])", [acknowledged]);
}
