/** How each invariant is broken, for the test that it is found. */
import type { BrokerState, InvariantName, Observed } from "@capstan/doctor";
import { ids } from "./invariantWorld.ts";

/** How to break an invariant: SQL, or what an observer sees, or both. Constraints that forbid it are taken away first. */
export interface Damage {
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
const isJobRow = `id = '${ids.job}'`;
const isWorkflow = `id = '${ids.workflow}'`;
const isSecond = `id = '${ids.second}'`;

const old = "timestamptz '2026-01-01'";

const withBroker = (change: (broker: BrokerState) => Partial<BrokerState>) => (seen: Observed) =>
  seen.broker === undefined ? seen : { ...seen, broker: { ...seen.broker, ...change(seen.broker) } };
const withFacts = (change: (facts: BrokerState["facts"]) => BrokerState["facts"]) =>
  withBroker(({ facts }) => ({ facts: change(facts) }));
const withConsumer = (change: object) =>
  withBroker(({ consumers }) => ({ consumers: consumers.map((consumer) => ({ ...consumer, ...change })) }));

export const damages: Readonly<Record<InvariantName, Damage>> = {
  "acknowledged-job-is-there": { seen: (seen) => ({ ...seen, acknowledged: [ids.nobody] }) },
  "one-key-one-job": {
    sql: `drop index job.job_idempotency_key;
          insert into job.job select (jsonb_populate_record(j, jsonb_build_object('id', '${ids.nobody}'))).* from job.job j where ${isJobRow};`,
  },
  "job-ends": { sql: set("job.job", "end_time = null, state = 'RUNNING'") },
  "job-has-one-end": { sql: `update job.event set is_terminal = false where ${isJob};` },
  "job-ended-as-told": { sql: set("job.job", "state = 'FAILED'") },
  "job-goes-forward": {
    sql: `update job.event set data = '{"state": "JOB_STATE_PENDING"}' where ${isJob} and sequence = 4;`,
  },
  "job-begins-once": { sql: `update job.event set noun = 'job', event = 'started' where ${isJob} and sequence = 5;` },
  "job-says-since-when": { sql: set("job.job", "start_time = null") },
  "steps-end-with-job": { sql: set("job.step", "end_time = null") },
  "success-of-all-steps": { sql: set("job.step", "state = 'FAILED'") },

  "logs-have-no-gap": { sql: `delete from job.event where ${isJob} and sequence = 3;` },
  "aggregates-count-their-facts": { sql: set("execution.execution", "sequence = 3", isFirst) },
  "aggregates-end-once": {
    sql: `drop index job.one_terminal_fact; update job.event set is_terminal = true where ${isJob} and sequence = 5;`,
  },
  "nothing-after-the-end": {
    sql: `drop index execution.one_terminal_fact;
          update execution.event set is_terminal = (sequence = 1) where aggregate_id = '${ids.first}';`,
  },
  "time-goes-forward": { sql: `update job.event set time = '2025-01-01' where ${isJob} and sequence = 2;` },
  "facts-are-of-known-jobs": { sql: `update execution.event set correlation_id = '${ids.nobody}';` },

  "facts-are-published": {
    sql: `insert into job.outbox (aggregate_ids, sequences) values ('{${ids.job}}', '{1}');`,
  },
  "streams-hold-the-log": { seen: withFacts((facts) => facts.slice(1)) },
  "streams-tell-the-log": {
    seen: withFacts((facts) => facts.map((fact) => ({ ...fact, type: fact.type.replace("ready", "started") }))),
  },
  "streams-keep-the-order": {
    seen: withFacts((facts) => facts.map((fact) => ({ ...fact, position: 100 - fact.position }))),
  },
  "consumers-know-their-stream": { seen: withConsumer({ delivered: 7 }) },
  "consumers-move": { seen: withConsumer({ inHand: 1 }) },
  "no-dead-letters": {
    sql: `insert into orchestrator.dead_letter (id, stream, stream_sequence, subject, headers, data, error, deliveries)
          values ('${ids.nobody}', 'CAPSTAN_JOB', 1, 'x', '{}', '', 'x', 1);`,
  },

  "sagas-end": { sql: set("orchestrator.saga", "stage = 'STARTED'", isSecond) },
  "executions-have-a-saga": { sql: set("orchestrator.saga", "attempt = 3", isSecond) },
  "reservations-have-a-saga": { sql: `delete from orchestrator.saga where ${isFirst};` },
  "sagas-tell-the-end": { sql: set("execution.execution", "state = 'LOST'", isFirst) },
  "steps-end-as-their-saga": {
    sql: `update orchestrator.saga set outcome = '{"type": "FAILED", "reason": "EXIT_CODE"}';`,
  },

  "executions-end": { sql: set("execution.execution", "end_time = null", isSecond) },
  "executions-ended-as-told": {
    sql: set("execution.execution", "state = 'TIMED_OUT'", isFirst),
  },
  "one-attempt-at-a-time": {
    sql: set("execution.execution", "end_time = end_time + interval '10 seconds'", isFirst),
  },
  "attempts-have-no-gap": { sql: `update job.step set retry = null;` },
  "success-has-one-execution": {
    sql: set("execution.execution", "state = 'SUCCEEDED'", isFirst),
  },
  "logs-are-sealed": { sql: `update execution.execution set log_sha256 = '';` },
  "logs-are-as-sealed": { sql: `update execution.log_chunk set data = 'ho' where sequence = 1;` },
  "logs-have-no-hole": { sql: `delete from execution.log_chunk where sequence = 1;` },

  "starts-are-told": {
    sql: `delete from execution.event where aggregate_id = '${ids.second}' and event = 'started';`,
  },
  "workers-keep-their-lease": {
    sql: `update execution.worker set lease_until = ${old};`,
  },
  "pools-have-their-workers": { sql: `update execution.worker set is_connected = false;` },

  "reservations-end": { sql: set("provider.reservation", "end_time = null", isSecond) },
  "reservations-are-for-jobs": { sql: `update provider.reservation set job_id = '${ids.nobody}';` },
  "providers-count-what-lives": { sql: `update provider.provider set used_slots = 1;` },
  "providers-hold-what-they-have": {
    sql: set("provider.reservation", "end_time = end_time + interval '5 seconds'", isFirst),
  },
  "executions-have-a-reservation": {
    sql: set("provider.reservation", "end_time = end_time - interval '2 seconds'", isSecond),
  },
  "reservations-are-told": {
    sql: set("provider.reservation", "state = 'EXPIRED'", isSecond),
  },

  "workloads-end-with-their-execution": {
    seen: (seen) => ({ ...seen, workloads: [{ executionId: ids.second, ref: "process 7 sleep 60" }] }),
  },

  "job-can-move": {
    sql: `${set("job.job", `end_time = null, state = 'RUNNING', state_time = ${old}`, isWorkflow)}
          update job.step set state_time = ${old};`,
  },
  "deadlines-are-kept": { sql: set("job.job", `end_time = null, state = 'RUNNING', deadline_time = ${old}`) },
  "due-steps-move": { sql: set("job.step", `end_time = null, state = 'BACKOFF', due_time = ${old}`) },

  "plain-job-is-one-step": { sql: "update job.job set is_workflow = false;" },
  "items-have-a-step": { sql: "delete from job.step where name = 'resize';" },
  "items-have-no-gap": { sql: "delete from job.step where name = 'resize[0]';" },
  "items-end-with-their-step": { sql: set("job.step", "end_time = null, state = 'READY'", "name = 'resize[1]'") },
  "job-ends-as-decided": { sql: `update job.job set ending = '{"outcome": "FAILED"}' where ${isWorkflow};` },

  "parents-hear-of-ends": {
    sql: `${set("job.step", "end_time = null, state = 'SUSPENDED'", "name = 'main'")}
          update job.job set parent_job_id = '${ids.job}', parent_step = 'main', parent_attempt = 2 where ${isWorkflow};`,
  },
  "sub-jobs-have-a-parent": {
    sql: `update job.job set parent_job_id = '${ids.nobody}', parent_step = 'main', parent_attempt = 1;`,
  },
  "errands-are-run": {
    sql: `insert into job.errand (child_job_id, kind, parent_job_id, step, attempt)
          values ('${ids.nobody}', 'CANCEL', '${ids.job}', 'main', 1);`,
  },
  "signals-are-taken": {
    sql: `update job.job set spec = '{"steps": [{"name": "resize", "signal": {"name": "go"}}]}' where ${isWorkflow};
          ${set("job.step", `end_time = null, state = 'SUSPENDED', state_time = ${old}`, "name = 'resize'")}
          insert into job.signal (job_id, name, payload, create_time) values ('${ids.workflow}', 'go', '{}', ${old});`,
  },
  "only-paused-jobs-are-held": {
    sql: `${set("orchestrator.saga", `stage = 'WAITING', is_held = true, hold_time = ${old}`, isSecond)}
          update job.job set state_time = ${old};`,
  },

  "told-runs-have-one-job": {
    sql: `insert into job.event (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, data)
          values (gen_random_uuid(), 1, gen_random_uuid(), 'default', 'schedule', 'fired', '', '', '{"jobId": "none"}');`,
  },
  "schedules-fire-in-time": { sql: `update job.schedule set next_fire_time = ${old};` },
  "runs-have-a-job": { sql: `update job.schedule set last_job_id = '${ids.nobody}';` },
  "buffered-runs-begin": { sql: `update job.schedule set buffered_time = ${old}, update_time = ${old};` },
  "jobs-are-of-published-versions": { sql: "update job.job set template_version = 2 where template is not null;" },

  "outbox-lists-facts": {
    sql: `insert into job.outbox (aggregate_ids, sequences) values ('{${ids.nobody}}', '{1}');`,
  },
  "streams-are-there": {
    sql: "update job.event set time = clock_timestamp();",
    seen: withBroker(({ streams }) => ({ streams: streams.slice(1) })),
  },

  "sagas-wake-in-time": {
    sql: set("orchestrator.saga", `stage = 'STARTED', wakeup_time = ${old}`, isSecond),
  },
  "claims-run-out": { sql: set("orchestrator.saga", "stage = 'WAITING', claim_until = 'infinity'", isSecond) },
  "nothing-is-parked": {
    sql: set("orchestrator.saga", `stage = 'PARKED', parked_stage = 'SETTLING', stage_time = ${old}`, isSecond),
  },
  "ready-steps-have-a-saga": {
    sql: `${set("job.job", "end_time = null, state = 'RUNNING'")}
          ${set("job.step", `end_time = null, state = 'READY', attempt = 3, state_time = ${old}`, "name = 'main'")}`,
  },
  "running-steps-have-a-saga": {
    sql: set("job.step", `end_time = null, state = 'RUNNING', state_time = ${old}`, "name = 'main'").concat(
      `update orchestrator.saga set stage_time = ${old};`,
    ),
  },
  "sagas-end-with-their-job": {
    sql: set("orchestrator.saga", "stage = 'STARTED', wakeup_time = clock_timestamp()", isSecond),
  },
  "sagas-hear-of-ends": {
    sql: set("orchestrator.saga", "stage = 'STARTED', wakeup_time = clock_timestamp()", isSecond),
  },

  "only-live-sagas-are-counted": {
    sql: `update orchestrator.saga set is_counted = true, stage_time = ${old} where ${isSecond};`,
  },
  "wait-rules-are-followed": {
    sql: `${set("orchestrator.saga", "stage = 'WAITING'", isSecond)}
          insert into orchestrator.wait_timer (saga_id, due_time) values ('${ids.second}', ${old});`,
  },
  "begun-is-of-sagas": { sql: `update orchestrator.begun set saga_id = '${ids.nobody}';` },
  "depth-limits-are-told": { sql: `delete from job.queue_limit; update orchestrator.queue set update_time = ${old};` },

  "executions-end-with-their-saga": {
    sql: `${set("execution.execution", "end_time = null", isSecond)} update orchestrator.saga set stage_time = ${old};`,
  },
  "live-executions-have-a-runner": {
    sql: set("execution.execution", "kind = 'WORKER', end_time = null, lease_owner = null", isSecond),
  },
  "runners-keep-their-lease": { sql: `update execution.runner set lease_until = ${old};` },
  "running-containers-are-there": {
    sql: set("execution.execution", `end_time = null, state = 'RUNNING', lease_owner = '${ids.runner}'`, isSecond),
  },

  "reservations-end-with-their-saga": {
    sql: `${set("provider.reservation", "end_time = null, state = 'CONFIRMED'", isSecond)}
          update orchestrator.saga set stage_time = ${old};`,
  },
  "holds-expire": {
    sql: set("provider.reservation", `end_time = null, state = 'HELD', expire_time = ${old}`, isSecond),
  },
};
