/**
 * A small past in which everything is in order, written straight into the tables: a job that failed once and succeeded on its second
 * attempt, with its executions, log, reservations, sagas and all their facts; a pool with a worker; and of a template, by a schedule, a
 * workflow with two items. Only for the test of the invariants themselves.
 */
import type { Observed, StreamedFact } from "@capstan/doctor";
import type { Client } from "pg";

const id = (tail: number) => `00000000-0000-7000-8000-${String(tail).padStart(12, "0")}`;

export const ids = {
  job: id(1),
  provider: id(2),
  pool: id(3),
  worker: id(4),
  first: id(11),
  second: id(12),
  workflow: id(21),
  item: id(22),
  otherItem: id(23),
  schedule: id(24),
  template: id(25),
  runner: id(26),
  nobody: id(99),
} as const;

interface WorldFact {
  readonly context: string;
  readonly aggregateId: string;
  readonly noun: string;
  readonly event: string;
  readonly correlationId: string;
  readonly isTerminal: boolean;
  readonly data: object;
}

const ofJob = (noun: string, event: string, state: string, isTerminal = false): WorldFact => {
  const data = { jobId: ids.job, state: `JOB_STATE_${state}` };
  return { context: "job", aggregateId: ids.job, noun, event, correlationId: ids.job, isTerminal, data };
};

const ofExecution = (aggregateId: string, event: string): WorldFact => {
  const isTerminal = event !== "started";
  return {
    context: "execution",
    aggregateId,
    noun: "execution",
    event,
    correlationId: ids.job,
    isTerminal,
    data: {},
  };
};

/** In the namespace of another aggregate; its end is far away. */
const ofAnother = (context: string, noun: string, event: string, aggregateId: string, data: object = {}): WorldFact => {
  const isTerminal = event === "succeeded" && noun !== "step";
  const correlationId = context === "execution" || noun === "job" ? ids.workflow : "";
  return { context, noun, event, aggregateId, correlationId, isTerminal, data };
};

const ofProvider = (noun: string, event: string, data: object): WorldFact => {
  const about = { aggregateId: ids.provider, correlationId: "", isTerminal: false };
  return { context: "provider", noun, event, data, ...about };
};

const ofWorkers = (context: string, aggregateId: string, noun: string, event: string): WorldFact => {
  return { context, aggregateId, noun, event, correlationId: "", isTerminal: false, data: {} };
};

const ofReservation = (event: string, reservationId: string): WorldFact => {
  const state = `RESERVATION_STATE_${event.toUpperCase()}`;
  return ofProvider("reservation", event, { reservations: [{ id: reservationId, state }] });
};

/** In the order in which they happened, a second apart. */
const history: readonly WorldFact[] = [
  ofProvider("provider", "registered", { provider: { capacity: { slots: 1 } } }),
  ofJob("job", "submitted", "PENDING"),
  ofReservation("held", ids.first),
  ofExecution(ids.first, "started"),
  ofJob("job", "started", "RUNNING"),
  ofExecution(ids.first, "failed"),
  ofReservation("released", ids.first),
  ofJob("step", "backed_off", "RUNNING"),
  ofJob("step", "ready", "RUNNING"),
  ofReservation("held", ids.second),
  ofExecution(ids.second, "started"),
  ofJob("step", "started", "RUNNING"),
  ofExecution(ids.second, "succeeded"),
  ofReservation("released", ids.second),
  ofJob("job", "succeeded", "SUCCEEDED", true),
  ofWorkers("execution", ids.worker, "worker", "connected"),
  ofWorkers("provider", ids.pool, "provider", "registered"),
  ofAnother("job", "template", "published", ids.template),
  ofAnother("job", "schedule", "created", ids.schedule),
  ofAnother("job", "job", "submitted", ids.workflow),
  ofReservation("held", ids.item),
  ofAnother("execution", "execution", "started", ids.item),
  ofAnother("execution", "execution", "succeeded", ids.item),
  ofReservation("released", ids.item),
  ofReservation("held", ids.otherItem),
  ofAnother("execution", "execution", "started", ids.otherItem),
  ofAnother("execution", "execution", "succeeded", ids.otherItem),
  ofReservation("released", ids.otherItem),
  ofAnother("job", "job", "succeeded", ids.workflow),
];

const at = (second: number) => `timestamptz '2026-01-01 00:00:00Z' + interval '${second} seconds'`;

/** Writes it, and gives back what an observer would see beside it. */
export async function writeWorld(client: Pick<Client, "query">): Promise<Observed> {
  const facts: StreamedFact[] = [];
  for (const [index, fact] of history.entries()) {
    const sequence = 1 + facts.filter(({ aggregateId }) => aggregateId === fact.aggregateId).length;
    const factId = id(100 + index);
    await client.query(
      `insert into ${fact.context}.event
         (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, is_terminal, data, time)
       values ($1, $2, $3, 'default', $4, $5, $6, '', $7, $8, ${at(index)})`,
      [fact.aggregateId, sequence, factId, fact.noun, fact.event, fact.correlationId, fact.isTerminal, fact.data],
    );
    const type = `capstan.${fact.context}.v1.${fact.noun}.${fact.event}`;
    const position = 1 + facts.filter(({ context }) => context === fact.context).length;
    facts.push({ context: fact.context, position, id: factId, aggregateId: fact.aggregateId, sequence, type });
  }
  await client.query(rows);
  const consumer = { name: "CAPSTAN_JOB/orchestrator-job", delivered: 6, acknowledged: 6, lastPosition: 6 };
  const streams = ["job", "provider", "execution", "orchestrator"].map((context) => ({
    context,
    knownSince: new Date(0),
    isWhole: true,
  }));
  return {
    broker: { facts, streams, consumers: [{ ...consumer, pending: 0, inHand: 0 }] },
    workloads: [{ executionId: ids.nobody, ref: "process of another platform" }],
    engines: [ids.provider],
    acknowledged: [ids.job],
  };
}

const rows = `
  insert into job.job (id, tenant, name, labels, spec, priority, source, idempotency_key, request_hash, state, reason, sequence,
                       create_time, start_time, end_time)
  values ('${ids.job}', 'default', 'example', '{}', '{}', 0, '', 'key', '', 'SUCCEEDED', 'UNSPECIFIED', 6,
          ${at(1)}, ${at(4)}, ${at(14)});
  insert into job.step (job_id, name, position, state, reason, attempt, execution_id, retry, end_time)
  values ('${ids.job}', 'main', 0, 'SUCCEEDED', 'UNSPECIFIED', 2, '${ids.second}', '{"maxAttempts": 2}', ${at(14)});
  insert into provider.provider (id, tenant, name, kind, slots, cpu_millis, memory_mib, sequence, pool_time)
  values ('${ids.provider}', 'default', 'local', 'PROCESS', 1, 0, 0, 9, null),
         ('${ids.pool}', 'default', 'media', 'WORKER', 2, 0, 0, 1, ${at(16)});
  insert into execution.worker (id, tenant, pool, slots, handlers, labels, sdk, host, runner_id, lease_until)
  values ('${ids.worker}', 'default', 'media', 2, '{resize}', '{}', '', '', '${ids.nobody}', clock_timestamp() + interval '1 hour');
  insert into provider.reservation (id, tenant, provider_id, job_id, job_name, slots, state, create_time, end_time)
  values ('${ids.first}', 'default', '${ids.provider}', '${ids.job}', 'example', 1, 'RELEASED', ${at(2)}, ${at(6)}),
         ('${ids.second}', 'default', '${ids.provider}', '${ids.job}', 'example', 1, 'RELEASED', ${at(9)}, ${at(13)});
  insert into execution.log_chunk (execution_id, sequence, stream, byte_offset, data)
  values ('${ids.second}', 1, 1, 0, 'hi'), ('${ids.second}', 2, 2, 0, 'oh'), ('${ids.second}', 3, 1, 2, ' there');
  insert into execution.execution (id, tenant, job_id, step, attempt, provider_id, state, sequence, create_time, start_time,
                                   end_time, stdout_bytes, stderr_bytes, log_sha256)
  select e.id, 'default', '${ids.job}', 'main', e.attempt, '${ids.provider}', e.state, 2, e.create_time, e.start_time, e.end_time,
         e.stdout, e.stderr, encode(sha256(convert_to(e.log, 'UTF8')), 'hex')
    from (values ('${ids.first}'::uuid, 1, 'FAILED', ${at(3)}, ${at(3)}, ${at(5)}, 0, 0, ''),
                 ('${ids.second}'::uuid, 2, 'SUCCEEDED', ${at(10)}, ${at(10)}, ${at(12)}, 8, 2, 'hioh there'))
      as e (id, attempt, state, create_time, start_time, end_time, stdout, stderr, log);
  insert into orchestrator.saga (id, tenant, job_id, job_name, step, attempt, priority, spec, placement_key, stage, reason,
                                 placed, outcome)
  select s.id, 'default', '${ids.job}', 'example', 'main', s.attempt, 0, '{}', '', 'DONE', 'UNSPECIFIED', '{}', s.outcome::json
    from (values ('${ids.first}'::uuid, 1, '{"type": "FAILED", "reason": "EXIT_CODE"}'),
                 ('${ids.second}'::uuid, 2, '{"type": "SUCCEEDED", "reason": "UNSPECIFIED"}')) as s (id, attempt, outcome);
  insert into execution.runner (id, host, pid, pid_start, lease_until)
  values ('${ids.runner}', 'here', 1, 1, clock_timestamp() + interval '1 hour');
  insert into job.template (id, tenant, name, sequence) values ('${ids.template}', 'default', 'resize', 1);
  insert into job.template_version (template_id, version, state, spec, publish_time)
  values ('${ids.template}', 1, 'PUBLISHED', '{}', ${at(17)});
  insert into job.schedule (id, tenant, name, spec, state, next_time, next_fire_time, last_job_id, sequence, create_time)
  values ('${ids.schedule}', 'default', 'nightly', '{}', 'ACTIVE', clock_timestamp() + interval '1 hour',
          clock_timestamp() + interval '1 hour', '${ids.workflow}', 1, ${at(18)});
  insert into job.job (id, tenant, name, labels, spec, priority, source, request_hash, state, reason, sequence, create_time,
                       start_time, end_time, is_workflow, ending, template, template_version, schedule_id)
  values ('${ids.workflow}', 'default', 'images', '{}', '{"steps": [{"name": "resize", "forEach": {}}]}', 0, '', '', 'SUCCEEDED',
          'UNSPECIFIED', 2, ${at(19)}, ${at(21)}, ${at(28)}, true, '{"outcome": "SUCCEEDED"}', 'resize', 1, '${ids.schedule}');
  insert into job.step (job_id, name, parent, item_index, position, state, reason, attempt, end_time)
  values ('${ids.workflow}', 'resize', null, null, 0, 'SUCCEEDED', 'UNSPECIFIED', 1, ${at(28)}),
         ('${ids.workflow}', 'resize[0]', 'resize', 0, 0, 'SUCCEEDED', 'UNSPECIFIED', 1, ${at(28)}),
         ('${ids.workflow}', 'resize[1]', 'resize', 1, 0, 'SUCCEEDED', 'UNSPECIFIED', 1, ${at(28)});
  insert into provider.reservation (id, tenant, provider_id, job_id, job_name, slots, state, create_time, end_time)
  values ('${ids.item}', 'default', '${ids.provider}', '${ids.workflow}', 'images', 1, 'RELEASED', ${at(20)}, ${at(23)}),
         ('${ids.otherItem}', 'default', '${ids.provider}', '${ids.workflow}', 'images', 1, 'RELEASED', ${at(24)}, ${at(27)});
  insert into execution.execution (id, tenant, job_id, step, attempt, provider_id, state, sequence, create_time, start_time,
                                   end_time, log_sha256)
  select e.id, 'default', '${ids.workflow}', e.step, 1, '${ids.provider}', 'SUCCEEDED', 2, e.start, e.start, e.start + interval '1 second',
         encode(sha256(''), 'hex')
    from (values ('${ids.item}'::uuid, 'resize[0]', ${at(21)}), ('${ids.otherItem}', 'resize[1]', ${at(25)})) as e (id, step, start);
  insert into orchestrator.saga (id, tenant, job_id, job_name, step, attempt, priority, spec, placement_key, stage, reason, placed, outcome)
  select s.id, 'default', '${ids.workflow}', 'images', s.step, 1, 0, '{}', '', 'DONE', 'UNSPECIFIED', '{}', '{"type": "SUCCEEDED"}'
    from (values ('${ids.item}'::uuid, 'resize[0]'), ('${ids.otherItem}', 'resize[1]')) as s (id, step);
  insert into orchestrator.queue (tenant, name, settings, id, sequence) values ('default', 'images', '{"maxDepth": 7}', '${ids.nobody}', 0);
  insert into job.queue_limit (tenant, queue, max_depth) values ('default', 'images', 7);
  insert into orchestrator.begun (saga_id, tenant, queue, concurrency_key) values ('${ids.item}', 'default', 'images', '');`;
