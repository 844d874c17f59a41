/** Attempts over all services: sagas, executions, and what their workloads did. S, A and E rules, and H5, H6. */
import { narrow } from "./platform.ts";
import type { Rules } from "./rule.ts";

const live = "stage not in ('DONE', 'COMPENSATED')";

export const attemptRules = {
  S1: {
    says: "a saga has not ended",
    sql: `select id || ' is ' || stage || ', ' || message as ref from orchestrator.saga where ${live}`,
  },
  S2: {
    says: "a step was tried and no saga led it",
    sql: `select s.job_id || '/' || s.name as ref from job.step s
           where s.execution_id is not null and not exists (select from orchestrator.saga g where g.id = s.execution_id)`,
  },
  S3: {
    says: "a step has succeeded and its saga tells otherwise",
    sql: `select g.id || ' tells ' || (g.outcome->>'type') || ' and the step is ' || s.state as ref
            from orchestrator.saga g join job.step s on s.job_id = g.job_id and s.name = g.step and s.attempt = g.attempt and s.end_time is not null
           where g.outcome is not null and (g.outcome->>'type' = 'SUCCEEDED') <> (s.state = 'SUCCEEDED')`,
  },
  S5: {
    says: "a saga lives and its job has ended, or the other way round",
    sql: `select g.id::text as ref from orchestrator.saga g left join job.job j on j.id = g.job_id
           where j.id is null or (j.end_time is not null and g.${live})`,
  },
  A1: {
    says: "two attempts of a step lived at the same time",
    sql: `select a.id || ' and ' || b.id as ref
            from execution.execution a join execution.execution b on b.job_id = a.job_id and b.step = a.step and b.attempt > a.attempt
           where b.provider_id is not null and b.create_time < coalesce(a.end_time, 'infinity')`,
  },
  A2: {
    says: "an execution has not ended",
    sql: "select id || ' is ' || state as ref from execution.execution where end_time is null",
  },
  A3: {
    says: "a step has succeeded without exactly one execution that did",
    sql: `select s.job_id || '/' || s.name || ' has ' || count(e.id) as ref
            from job.step s left join execution.execution e on e.job_id = s.job_id and e.step = s.name and e.state = 'SUCCEEDED'
           where s.state = 'SUCCEEDED' and not exists (select from job.step item where item.job_id = s.job_id and item.parent = s.name)
           group by s.job_id, s.name having count(e.id) <> 1`,
  },
  A4: {
    says: "the attempts of a step have a gap, or are more than it may have",
    sql: `select g.job_id || '/' || g.step as ref
            from orchestrator.saga g join job.step s on s.job_id = g.job_id and s.name = g.step
           group by g.job_id, g.step, s.retry->>'maxAttempts'
          having max(g.attempt) <> count(*) or count(*) > greatest(1, coalesce((s.retry->>'maxAttempts')::int, 1))`,
  },
  A5: {
    says: "a step says another attempt than its last saga",
    sql: `select s.job_id || '/' || s.name as ref
            from job.step s join (select job_id, step, max(attempt) as last from orchestrator.saga group by 1, 2) g
              on g.job_id = s.job_id and g.step = s.name
           where s.attempt <> g.last`,
  },
  A6: {
    says: "a runner that is gone is still listed",
    sql: "select id || ', pid ' || pid as ref from execution.runner where lease_until < clock_timestamp() - interval '30 s'",
  },
  A7: {
    says: "an execution is not in the state that its terminal fact tells",
    sql: `select e.id || ' is ' || e.state as ref
            from execution.execution e left join chk_fact f on f.context = 'execution' and f.aggregate_id = e.id and f.is_terminal
           where e.end_time is not null and upper(f.event) is distinct from e.state`,
  },
  A8: {
    says: "the log of an execution is not what was sealed",
    sql: `select e.id::text as ref
            from (select * from execution.execution where end_time is not null and provider_id is not null
                     and stdout_bytes + stderr_bytes < 1000000 and stdout_bytes + stderr_bytes + log_lines > 0
                   order by create_time desc limit 5000) e
            left join execution.log_chunk c on c.execution_id = e.id
           group by e.id, e.log_sha256
          having e.log_sha256 <> encode(sha256(coalesce(string_agg(c.data, ''::bytea order by c.sequence), ''::bytea)), 'hex')`,
  },
  E1: {
    says: "a workload ran twice in one attempt",
    sql: `select execution_id::text || ' ' || event || ' ' || count(*) as ref from chk_effect group by execution_id, event having count(*) > 1
          union all
          select execution_id::text || ' was started ' || count(*) || ' times' from chk_start join execution.execution e on e.id = execution_id where action = 'start' group by execution_id having count(*) > 1`,
  },
  E2: {
    says: "a workload ran and no attempt is known",
    sql: `select f.execution_id || ' of job ' || f.job_id || '#' || f.attempt as ref
            from chk_effect f
            left join execution.execution e on e.id = f.execution_id and e.job_id = f.job_id and e.attempt = f.attempt
           where e.id is null`,
  },
  E3: {
    says: "a workload ran although its attempt was never assigned",
    sql: `select f.execution_id::text as ref from chk_effect f join execution.execution e on e.id = f.execution_id where e.provider_id is null`,
  },
  E4: {
    says: "a workload has succeeded that did not do its work",
    sql: `select e.id || ' of ' || j.name as ref
            from execution.execution e join job.job j on j.id = e.job_id
           where e.state = 'SUCCEEDED' and e.kind in ('WORKER', 'PROCESS')
             and (select count(distinct f.event) from chk_effect f where f.execution_id = e.id) <> 2`,
  },
  // A handler that stands still with its worker cannot be stopped, so that it may end beside the next attempt: no promise is made of those.
  H5: {
    says: "the processes of two attempts of a step ran at the same time",
    sql: `with span as (
            select execution_id, job_id, attempt, min(time_ms) filter (where event = 'begin') as begin_ms, max(time_ms) filter (where event = 'end') as end_ms
              from chk_effect where by = 'process' group by 1, 2, 3)
          select a.execution_id || ' and ' || b.execution_id as ref
            from span a join span b on b.job_id = a.job_id and b.attempt > a.attempt
            join execution.execution x on x.id = a.execution_id join execution.execution y on y.id = b.execution_id and y.step = x.step
           where b.begin_ms < a.end_ms`,
  },
  H6: {
    says: "more of a queue ran at once than it allows",
    sql: `with move as (
            select e.start_time as time, 1 as change from execution.execution e join job.job j on j.id = e.job_id
             where j.queue = '${narrow.name}' and e.start_time is not null
            union all
            select e.end_time, -1 from execution.execution e join job.job j on j.id = e.job_id
             where j.queue = '${narrow.name}' and e.start_time is not null)
          select running || ' at ' || time as ref
            from (select time, sum(change) over (order by time, change) as running from move) at
           where running > ${narrow.maxRunning}`,
  },
} as const satisfies Rules;
