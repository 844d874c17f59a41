/** Jobs, their steps and what the user was told of them. J rules of the reliability notes, and H1 to H4 of the history. */
import type { Rules } from "./rule.ts";

const ended = "('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')";

export const jobRules = {
  J1: {
    says: "a submit was accepted and its job is not there",
    sql: "select distinct s.key || ' as ' || s.job_id as ref from chk_submit s left join job.job j on j.id = s.job_id where s.outcome = 'ok' and j.id is null",
  },
  J2: {
    says: "one key has several jobs",
    sql: `select key as ref from job.job, lateral (values (idempotency_key), (request_id)) as given (key)
           where key is not null group by key having count(distinct id) > 1`,
  },
  J2b: {
    says: "one key was answered with different jobs",
    sql: "select key as ref from chk_submit where outcome = 'ok' group by key having count(distinct job_id) > 1",
  },
  J2c: {
    says: "a key was answered with the job of another key",
    sql: `select s.key || ' and ' || coalesce(j.idempotency_key, j.request_id, '') as ref
            from chk_submit s join job.job j on j.id = s.job_id
           where s.outcome = 'ok' and s.key is distinct from j.idempotency_key and s.key is distinct from j.request_id`,
  },
  J3: {
    says: "a submit was refused and made a job",
    sql: `select s.key as ref from (select key from chk_submit group by key having bool_and(outcome = 'fail')) s
            join job.job j on j.idempotency_key = s.key or j.request_id = s.key`,
  },
  J3b: {
    says: "a job is there that nobody submitted",
    sql: `select j.id::text as ref from job.job j
           where j.parent_job_id is null and j.schedule_id is null
             and not exists (select from chk_submit s where s.key = j.idempotency_key and s.outcome <> 'fail')
             and not exists (select from chk_submit s where s.key = j.request_id and s.outcome <> 'fail')`,
  },
  J4: {
    says: "a job has not ended",
    sql: `select id || ' is ' || state || ', ' || reason || ' ' || message as ref from job.job where end_time is null or state not in ${ended}`,
  },
  J5: {
    says: "a job has not exactly one terminal fact",
    sql: `select j.id || ' has ' || count(f.id) as ref
            from job.job j left join chk_fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
           where j.end_time is not null group by j.id having count(f.id) <> 1`,
  },
  J6: {
    says: "a job is not in the state that its terminal fact tells",
    sql: `select j.id || ' is ' || j.state || ' and told ' || f.event as ref
            from job.job j join chk_fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
           where f.noun <> 'job' or upper(f.event) <> j.state`,
  },
  J9: {
    says: "the facts of a job go back in time",
    sql: `select a.aggregate_id || '#' || b.sequence as ref
            from chk_fact a join chk_fact b on b.context = a.context and b.aggregate_id = a.aggregate_id and b.sequence = a.sequence + 1
           where a.context = 'job' and b.time < a.time`,
  },
  J10: {
    says: "a job has ended and a step of it has not",
    sql: `select s.job_id || '/' || s.name as ref from job.job j join job.step s on s.job_id = j.id
           where j.end_time is not null and s.end_time is null`,
  },
  J11: {
    says: "a job has succeeded and a step of it has not",
    sql: `select s.job_id || '/' || s.name as ref from job.job j join job.step s on s.job_id = j.id
           where j.state = 'SUCCEEDED' and s.state not in ('SUCCEEDED', 'SKIPPED')`,
  },
  J12: {
    says: "a cancel was accepted and its job ended otherwise",
    sql: `select distinct c.job_id || ' is ' || j.state as ref from chk_cancel c join job.job j on j.id = c.job_id
           where c.outcome = 'ok' and j.state <> 'CANCELLED'`,
  },
  J13: {
    says: "a job was cancelled that nobody cancelled",
    sql: `select j.id::text as ref from job.job j where j.state = 'CANCELLED' and not exists (select from chk_cancel c where c.job_id = j.id)`,
  },
  J14: {
    says: "a job gave back the result of another",
    sql: `select j.id || ' of ' || j.idempotency_key || ' gave ' || j.result::text as ref from job.job j
           where j.state = 'SUCCEEDED' and j.name in ('handler', 'narrow', 'canary')
             and j.idempotency_key is not null and j.result->>'key' is distinct from j.idempotency_key`,
  },
  J15: {
    says: "a job that has to fail did not",
    sql: "select id::text as ref from job.job where name = 'failing' and state = 'SUCCEEDED'",
  },
  H1: {
    says: "a job was not found right after its submit was accepted",
    sql: "select distinct job_id::text as ref from chk_missing",
  },
  H2: {
    says: "who watched a job missed a fact, or was told another",
    sql: `select w.observer || ' at ' || w.place as ref
            from (select *, row_number() over (partition by observer order by place) as n from chk_sight where how = 'watch') w
            left join chk_fact f on f.context = 'job' and f.aggregate_id = w.job_id and f.sequence = w.sequence
           where w.sequence <> w.n or f.id is null or w.type <> 'capstan.job.v1.' || f.noun || '.' || f.event`,
  },
  H3: {
    says: "who read a job saw it go back",
    sql: `select b.observer || ' at ' || b.place || ': ' || a.type || ' ' || a.sequence || ', then ' || b.type || ' ' || b.sequence as ref
            from chk_sight b
            join lateral (select * from chk_sight a where a.observer = b.observer and a.place < b.place order by a.place desc limit 1) a on true
           where b.how = 'get' and (b.sequence < a.sequence
                 or substr(a.type, 11) in ${ended} and b.type <> a.type
                 or a.sequence = b.sequence and a.type <> b.type)`,
  },
} as const satisfies Rules;
