/** How each rule is broken, for the test that this is found. Constraints that forbid it are taken away first. */
import { ids } from "../support/invariantWorld.ts";
import type { RuleName } from "./checker.ts";
import type { Evidence } from "./evidence.ts";
import type { History } from "./history.ts";
import type { Effect } from "./ledger.ts";
import type { Streams } from "./streams.ts";

export interface Damage {
  readonly sql?: string;
  readonly seen?: (evidence: Evidence) => Evidence;
}

const free = (table: string) => `
  do $$ declare name text; begin
    for name in select conname from pg_constraint where conrelid = '${table}'::regclass and contype in ('c', 'u') loop
      execute format('alter table ${table} drop constraint %I', name);
    end loop;
  end $$;`;

const set = (table: string, change: string, where: string) => ({
  sql: `${free(table)} update ${table} set ${change} where ${where};`,
});

const isJob = `id = '${ids.job}'`;
const isFirst = `id = '${ids.first}'`;
const isSecond = `id = '${ids.second}'`;
const ofJob = `aggregate_id = '${ids.job}'`;

const withHistory = (change: (history: History) => Partial<History>) => ({
  seen: (evidence: Evidence): Evidence => ({
    ...evidence,
    history: { ...evidence.history, ...change(evidence.history) },
  }),
});
const submit = { key: "key", kind: "x", outcome: "ok", jobId: ids.job, code: "", timeMs: 0 } as const;
const withSubmit = (change: object) =>
  withHistory(({ submits }) => ({ submits: [...submits, { ...submit, ...change }] }));
const withSight = (...more: readonly object[]) =>
  withHistory(({ sights }) => ({
    sights: [
      ...sights,
      ...more.map((change, place) => {
        const sight = {
          observer: "another",
          jobId: ids.job,
          how: "get",
          sequence: 6,
          type: "JOB_STATE_SUCCEEDED",
        } as const;
        return { ...sight, place, ...change };
      }),
    ],
  }));
const withEffects = (...more: readonly Partial<Effect>[]) => ({
  seen: (evidence: Evidence): Evidence => {
    const effect = {
      event: "begin",
      executionId: ids.second,
      jobId: ids.job,
      attempt: 2,
      timeMs: 9,
      by: "process",
    } as const;
    return { ...evidence, effects: [...evidence.effects, ...more.map((change) => ({ ...effect, ...change }))] };
  },
});
const withStreams = (change: (streams: Streams) => Partial<Streams>) => ({
  seen: (evidence: Evidence): Evidence => ({
    ...evidence,
    streams: { ...evidence.streams, ...change(evidence.streams) },
  }),
});
const withConsumers = (change: object) =>
  withStreams(({ consumers }) => ({ consumers: consumers.map((consumer) => ({ ...consumer, ...change })) }));

export const damages: Readonly<Record<RuleName, Damage>> = {
  J1: withSubmit({ key: "gone", jobId: ids.nobody }),
  J2: {
    sql: `drop index job.job_idempotency_key;
          insert into job.job select (jsonb_populate_record(j, jsonb_build_object('id', '${ids.nobody}'))).* from job.job j where ${isJob};`,
  },
  J2b: withSubmit({ jobId: ids.workflow }),
  J2c: withSubmit({ key: "other" }),
  J3: withHistory(({ submits }) => ({ submits: submits.map((each) => ({ ...each, outcome: "fail" })) })),
  J3b: withHistory(() => ({ submits: [] })),
  J4: set("job.job", "end_time = null, state = 'RUNNING'", isJob),
  J5: { sql: `update job.event set is_terminal = false where ${ofJob};` },
  J6: set("job.job", "state = 'FAILED'", isJob),
  J7: { sql: `delete from job.event where ${ofJob} and sequence = 3;` },
  J7b: set("job.job", "sequence = 7", isJob),
  J8: {
    sql: `drop index job.one_terminal_fact; update job.event set is_terminal = true where ${ofJob} and sequence = 5;`,
  },
  J9: { sql: `update job.event set time = '2025-01-01' where ${ofJob} and sequence = 3;` },
  J10: set("job.step", "end_time = null, state = 'RUNNING', start_time = now()", `job_id = '${ids.job}'`),
  J11: set("job.step", "state = 'FAILED'", `job_id = '${ids.job}'`),
  J12: withHistory(() => ({ cancels: [{ jobId: ids.job, outcome: "ok", timeMs: 0 }] })),
  J13: set("job.job", "state = 'CANCELLED'", isJob),
  J14: set("job.job", `name = 'handler', result = '{"key": "another"}'`, isJob),
  J15: set("job.job", "name = 'failing'", isJob),
  H1: withHistory(() => ({ missing: [ids.job] })),
  H2: withHistory(({ sights }) => ({ sights: sights.filter(({ sequence }) => sequence !== 3) })),
  H3: withSight({}, { sequence: 5, type: "JOB_STATE_RUNNING" }),
  O1: { sql: `update job.event set id = (select id from execution.event limit 1) where ${ofJob} and sequence = 1;` },
  O2: { sql: `insert into job.outbox (aggregate_ids, sequences) values ('{${ids.job}}', '{1}');` },
  O3: withStreams(({ messages }) => ({ messages: messages.slice(1) })),
  O4: withStreams(({ messages }) => ({
    messages: messages.map((each) => ({ ...each, position: 100 - each.position })),
  })),
  O5: withStreams(({ messages }) => ({
    messages: [...messages, { ...(messages[0] as (typeof messages)[number]), id: ids.nobody }],
  })),
  N1: withConsumers({ delivered: 99 }),
  N2: withConsumers({ inHand: 1 }),
  N3: withStreams(() => ({ consumers: [] })),
  I3: {
    sql: `insert into orchestrator.dead_letter (id, stream, stream_sequence, subject, headers, data, error, deliveries)
          values ('${ids.nobody}', 'CAPSTAN_JOB', 1, 'x', '{}', '', 'x', 1);`,
  },
  S1: set("orchestrator.saga", "stage = 'STARTED'", isSecond),
  S2: { sql: `delete from orchestrator.saga where ${isSecond};` },
  S3: set("orchestrator.saga", `outcome = '{"type": "FAILED"}'`, isSecond),
  S5: set("orchestrator.saga", "stage = 'STARTED'", isSecond),
  A1: { sql: `update execution.execution set create_time = '2026-01-01 00:00:04Z' where ${isSecond};` },
  A2: set("execution.execution", "end_time = null, state = 'RUNNING'", isSecond),
  A3: set("execution.execution", "state = 'SUCCEEDED'", isFirst),
  A4: set("orchestrator.saga", "attempt = 3", isSecond),
  A5: set("job.step", "attempt = 1", `job_id = '${ids.job}'`),
  A6: { sql: "update execution.runner set lease_until = '2026-01-01';" },
  A7: set("execution.execution", "state = 'LOST'", isFirst),
  A8: { sql: `update execution.log_chunk set data = 'ho' where execution_id = '${ids.second}' and sequence = 1;` },
  E1: withEffects({}, {}),
  E2: withEffects({ executionId: ids.nobody }),
  E3: set("execution.execution", "provider_id = null, state = 'CANCELLED'", isSecond),
  E4: set("execution.execution", "kind = 'WORKER'", `id = '${ids.item}'`),
  H5: withEffects(
    { executionId: ids.first, attempt: 1, timeMs: 1 },
    { executionId: ids.first, attempt: 1, timeMs: 20, event: "end" },
  ),
  H6: {
    sql: `update job.job set queue = 'narrow';
          update execution.execution set start_time = '2026-01-01', end_time = '2026-01-02';`,
  },
  R1: set("provider.reservation", "state = 'CONFIRMED', end_time = null", isSecond),
  R2: { sql: `update provider.provider set used_slots = 1 where id = '${ids.provider}';` },
  R3: { sql: `update provider.reservation set job_id = '${ids.nobody}' where ${isFirst};` },
  R4: { sql: `delete from provider.reservation where ${isFirst};` },
  C1: { seen: (evidence) => ({ ...evidence, processes: [{ executionId: ids.second, pid: 1 }] }) },
  C2: {
    sql: `update execution.installation set id = '${ids.nobody}';`,
    seen: (evidence) => ({
      ...evidence,
      containers: [{ executionId: ids.second, installation: ids.nobody, isRunning: false }],
    }),
  },
  C3: {
    sql: `update execution.installation set id = '${ids.nobody}';`,
    seen: (evidence) => ({
      ...evidence,
      containerEvents: [{ executionId: ids.nobody, action: "start", timeMs: 0 }],
      containers: [{ executionId: ids.nobody, installation: ids.nobody, isRunning: true }],
    }),
  },
  H8: { seen: (evidence) => ({ ...evidence, memory: [{ label: "job-1", warmMib: 100, quietMib: 300 }] }) },
  T1: set("job.step", "due_time = '2026-01-01', end_time = null, state = 'READY'", `job_id = '${ids.job}'`),
  T2: {
    sql: `insert into job.errand (child_job_id, kind, parent_job_id, step, attempt) values ('${ids.nobody}', 'TELL', '${ids.job}', 'main', 1);`,
  },
  T3: { sql: `insert into orchestrator.wait_timer (saga_id, due_time) values ('${ids.second}', now());` },
};
