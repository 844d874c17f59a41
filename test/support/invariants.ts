/**
 * Holds a platform to the invariants of @capstan/doctor, from outside: an administrator's connection over all schemas, the streams as
 * a client sees them, processes and containers as the machine shows them. Those that `capstan doctor` examines, and those that hold only
 * when nothing is under way.
 */
import { examine, type Finding, type InvariantName, invariantNames, invariants, type Observed } from "@capstan/doctor";
import { Client } from "pg";
import { expect } from "vitest";
import { readBroker } from "./broker.ts";
import { eventually } from "./eventually.ts";
import { serviceNames } from "./serviceProcess.ts";
import type { Platform } from "./startPlatform.ts";
import { listWorkloads } from "./workloads.ts";

export interface Violation {
  readonly name: InvariantName;
  /** What is wrong. */
  readonly finding: string;
  /** What breaks it; at most 5. */
  readonly refs: readonly string[];
}

export interface ExpectOptions {
  /** Ids of jobs that were answered; those must be there. */
  readonly acknowledged?: readonly string[];
  /** How long the platform may take to come to rest; 60,000 when absent. */
  readonly timeoutMs?: number;
  /** Those that what was done to the platform breaks by its nature, such as a stream that knows more than a database from a backup. */
  readonly but?: readonly InvariantName[];
}

/** Waits until nothing is under way, then fails with every invariant that is broken and what breaks it. */
export async function expectNoViolations(
  platform: Pick<Platform, "database" | "nats" | "engine">,
  { acknowledged = [], timeoutMs = 60_000, but = [] }: ExpectOptions = {},
): Promise<void> {
  const client = new Client({ connectionString: platform.database.adminUrl });
  await client.connect();
  const check = async () => {
    const observed = {
      workloads: await listWorkloads(platform.engine),
      broker: await readBroker(platform.nats.url),
      acknowledged,
    };
    const violations = await findViolations(client, observed);
    expect(violations.filter(({ name }) => !but.includes(name))).toEqual([]);
  };
  try {
    await eventually(() => isAtRest(client), timeoutMs).catch(() => {}); // then the invariants say what is not
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

/** Every broken invariant; nothing is excused as being under way. */
export async function findViolations(client: Pick<Client, "query">, observed: Observed): Promise<readonly Violation[]> {
  const run = async (statement: { text: string; values: string[] }) =>
    (await client.query<Partial<Finding>>(statement)).rows;
  const examined = await examine(run, { names: invariantNames, observed, settleMs: 0, limit: 5 });
  expect(examined.map(({ name }) => name)).toEqual(invariantNames);
  expect(examined.filter(({ failure }) => failure !== null)).toEqual([]);
  return examined
    .filter(({ findings }) => findings.length > 0)
    .map(({ name, findings }) => ({ name, finding: invariants[name].finding, refs: findings.map(({ ref }) => ref) }));
}
