/** The invariants find what they are for: each is broken once, in a transaction that is rolled back, and seen to be. */
import { migrate } from "@capstan/postgres";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { type InvariantName, invariantRules } from "./invariantRules.ts";
import { checkRules, findViolations, loadObserved, type Observed } from "./invariants.ts";
import { ids, writeWorld } from "./invariantWorld.ts";
import { serviceNames } from "./serviceProcess.ts";

let database: TestDatabase;
let client: Client;
let world: Observed;

beforeAll(async () => {
  database = await createTestDatabase(...serviceNames);
  for (const schema of serviceNames) {
    const directory = new URL(`../../services/${schema}/migrations/`, import.meta.url);
    await migrate({ url: database.urlOf(schema), schema, directory });
  }
  client = new Client({ connectionString: database.adminUrl });
  await client.connect();
  world = await writeWorld(client);
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

/** How to break a rule: SQL, or what an observer sees, or both. Constraints that forbid it are taken away first. */
interface Damage {
  readonly sql?: string;
  readonly seen?: (seen: Observed) => Observed;
}

const noChecks = (table: string) => `
  do $$ declare name text; begin
    for name in select conname from pg_constraint where conrelid = '${table}'::regclass and contype in ('c', 'u') loop
      execute format('alter table ${table} drop constraint %I', name);
    end loop;
  end $$;`;

const set = (table: string, change: string, where = "true") =>
  `${noChecks(table)} update ${table} set ${change} where ${where};`;

const isJob = `aggregate_id = '${ids.job}'`;
const isFirst = `id = '${ids.first}'`;
const isSecond = `id = '${ids.second}'`;

const withFacts = (change: (facts: Observed["facts"]) => Observed["facts"]) => (seen: Observed) => ({
  ...seen,
  facts: change(seen.facts),
});
const withConsumer = (change: object) => (seen: Observed) => ({
  ...seen,
  consumers: seen.consumers.map((consumer) => ({ ...consumer, ...change })),
});

const damages: Readonly<Record<InvariantName, Damage>> = {
  "a job that was acknowledged is not there": { seen: (seen) => ({ ...seen, acknowledged: [ids.nobody] }) },
  "one key has several jobs": {
    sql: `drop index job.job_idempotency_key;
          insert into job.job select (jsonb_populate_record(j, jsonb_build_object('id', '${ids.nobody}'))).* from job.job j;`,
  },
  "a job has not ended": { sql: set("job.job", "end_time = null, state = 'RUNNING'") },
  "a job has not exactly one terminal fact": { sql: `update job.event set is_terminal = false where ${isJob};` },
  "a job is not in the state that its terminal fact tells": { sql: set("job.job", "state = 'FAILED'") },
  "the state of a job went backwards": {
    sql: `update job.event set data = '{"state": "JOB_STATE_PENDING"}' where ${isJob} and sequence = 4;`,
  },
  "a job began twice": { sql: `update job.event set noun = 'job', event = 'started' where ${isJob} and sequence = 5;` },
  "a run that a schedule tells of has not exactly one job, or is told twice": {
    sql: `insert into job.event (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, data)
          values (gen_random_uuid(), 1, gen_random_uuid(), 'default', 'schedule', 'fired', '', '', '{"jobId": "none"}');`,
  },
  "a job ran and does not say since when": { sql: set("job.job", "start_time = null") },
  "a job has ended and a step of it has not": { sql: set("job.step", "end_time = null") },
  "a job has succeeded and a step of it has not": { sql: set("job.step", "state = 'FAILED'") },

  "a log of facts has a gap": { sql: `delete from job.event where ${isJob} and sequence = 3;` },
  "an aggregate has not as many facts as it counts": { sql: set("execution.execution", "sequence = 3", isFirst) },
  "an aggregate ended twice": {
    sql: `drop index job.one_terminal_fact; update job.event set is_terminal = true where ${isJob} and sequence = 5;`,
  },
  "something happened after the end": {
    sql: `drop index execution.one_terminal_fact;
          update execution.event set is_terminal = (sequence = 1) where aggregate_id = '${ids.first}';`,
  },
  "time went backwards": { sql: `update job.event set time = '2025-01-01' where ${isJob} and sequence = 2;` },
  "a fact tells of a job that is not there": { sql: `update execution.event set correlation_id = '${ids.nobody}';` },

  "a fact is not published": {
    sql: `insert into job.outbox (aggregate_ids, sequences) values ('{${ids.job}}', '{1}');`,
  },
  "a fact is not in its stream": { seen: withFacts((facts) => facts.slice(1)) },
  "a stream tells something that the log does not": {
    seen: withFacts((facts) => facts.map((fact) => ({ ...fact, type: fact.type.replace("ready", "started") }))),
  },
  "a stream tells an aggregate's facts out of order": {
    seen: withFacts((facts) => facts.map((fact) => ({ ...fact, position: 100 - fact.position }))),
  },
  "a consumer is ahead of its stream": { seen: withConsumer({ delivered: 7 }) },
  "a consumer has not handled everything": { seen: withConsumer({ inHand: 1 }) },
  "a dead letter is left": {
    sql: `insert into orchestrator.dead_letter (id, stream, stream_sequence, subject, headers, data, error, deliveries)
          values ('${ids.nobody}', 'CAPSTAN_JOB', 1, 'x', '{}', '', 'x', 1);`,
  },

  "a saga has not ended": { sql: set("orchestrator.saga", "stage = 'STARTED'", isSecond) },
  "an execution belongs to no saga": { sql: set("orchestrator.saga", "attempt = 3", isSecond) },
  "a reservation belongs to no saga": { sql: `delete from orchestrator.saga where ${isFirst};` },
  "a saga tells another end than its execution": { sql: set("execution.execution", "state = 'LOST'", isFirst) },
  "a step has another end than its last saga": {
    sql: `update orchestrator.saga set outcome = '{"type": "FAILED", "reason": "EXIT_CODE"}';`,
  },

  "an execution has not ended": { sql: set("execution.execution", "end_time = null", isSecond) },
  "an execution is not in the state that its terminal fact tells": {
    sql: set("execution.execution", "state = 'TIMED_OUT'", isFirst),
  },
  "two attempts of a step ran at the same time": {
    sql: set("execution.execution", "end_time = end_time + interval '10 seconds'", isFirst),
  },
  "attempts of a step have a gap, or are more than its policy allows": { sql: `update job.step set retry = null;` },
  "a step has succeeded without exactly one execution that did": {
    sql: set("execution.execution", "state = 'SUCCEEDED'", isFirst),
  },
  "an execution has ended and its log is not sealed": { sql: `update execution.execution set log_sha256 = '';` },
  "a sealed log is not what is stored": { sql: `update execution.log_chunk set data = 'ho' where sequence = 1;` },
  "a log has a hole": { sql: `delete from execution.log_chunk where sequence = 1;` },

  "a program has succeeded and its start was not told": {
    sql: `delete from execution.event where aggregate_id = '${ids.second}' and event = 'started';`,
  },
  "a live handler belongs to no runner": {
    sql: set("execution.execution", "kind = 'WORKER', end_time = null, lease_owner = null", isSecond),
  },
  "a worker is kept although its lease is over": {
    sql: `update execution.worker set lease_until = clock_timestamp() - interval '1 second';`,
  },
  "a pool has not the slots of its workers": { sql: `update execution.worker set is_connected = false;` },

  "a reservation has not ended": { sql: set("provider.reservation", "end_time = null", isSecond) },
  "a reservation is for a job that is not there": { sql: `update provider.reservation set job_id = '${ids.nobody}';` },
  "a provider counts other reservations than live on it": { sql: `update provider.provider set used_slots = 1;` },
  "a provider held more than it ever had": {
    sql: set("provider.reservation", "end_time = end_time + interval '5 seconds'", isFirst),
  },
  "an execution ran without its reservation": {
    sql: set("provider.reservation", "end_time = end_time - interval '2 seconds'", isSecond),
  },
  "a reservation was not told once when it was made and once when it ended": {
    sql: set("provider.reservation", "state = 'EXPIRED'", isSecond),
  },

  "a workload is left although its execution is over": {
    seen: (seen) => ({ ...seen, workloads: [{ executionId: ids.second, ref: "process 7 sleep 60" }] }),
  },
};

test("a past in which everything is in order breaks no rule", async () => {
  expect(await findViolations(client, world)).toEqual([]);
});

test.each(Object.keys(invariantRules) as InvariantName[])("it is found that %s", async (rule) => {
  const { sql = "", seen = (before: Observed) => before } = damages[rule];
  await client.query("begin");
  try {
    await client.query(sql);
    await loadObserved(client, seen(world));
    const found = await checkRules(client);
    expect(found.map((violation) => violation.rule)).toContain(rule);
  } finally {
    await client.query("rollback");
  }
});
