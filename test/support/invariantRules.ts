/**
 * What must hold over all schemas once nothing is under way, as SQL: each rule selects what breaks it, as `ref`. Fitted to our tables
 * from the invariants of outside checkers of job systems; `invariants.ts` says what the temporary tables hold:
 *
 *   fact, unpublished, letter      the log, the outbox and the unresolved dead letters of every schema, with their context
 *   streamed, consumer             what the streams hold and where their consumers stand
 *   workload, acknowledged         processes and containers that were found; jobs whose submit was answered
 */

const jobRules = {
  "a job that was acknowledged is not there": `
    select a.job_id::text as ref from acknowledged a left join job.job j on j.id = a.job_id where j.id is null`,
  "one key has several jobs": `
    select tenant || '/' || key as ref
      from job.job, lateral (values (idempotency_key), (request_id)) as given (key)
     where key is not null group by tenant, key having count(distinct id) > 1`,
  "a job has not ended": `
    select id || ' is ' || state || ', ' || reason || ' ' || message as ref from job.job where end_time is null`,
  "a job has not exactly one terminal fact": `
    select j.id || ' has ' || count(f.id) as ref
      from job.job j left join fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
     where j.end_time is not null group by j.id having count(f.id) <> 1`,
  "a job is not in the state that its terminal fact tells": `
    select j.id || ' is ' || j.state || ' and told ' || f.event as ref
      from job.job j join fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
     where f.noun <> 'job' or upper(f.event) <> j.state`,
  "the state of a job went backwards": `
    select a.aggregate_id || '#' || b.sequence as ref
      from fact a join fact b on b.aggregate_id = a.aggregate_id and b.sequence = a.sequence + 1
     where a.context = 'job' and b.context = 'job'
       and array_position(array['PENDING', 'RUNNING', 'CANCELLING'], substr(b.data->>'state', 11))
         < coalesce(array_position(array['PENDING', 'RUNNING', 'CANCELLING'], substr(a.data->>'state', 11)), 9)`,
  "a job began twice": `
    select aggregate_id::text as ref from fact
     where context = 'job' and noun = 'job' and event = 'started' group by aggregate_id having count(*) > 1`,
  "a run that a schedule tells of has not exactly one job, or is told twice": `
    select f.data->>'jobId' as ref
      from fact f left join job.job j on j.id::text = f.data->>'jobId' and j.schedule_id = f.aggregate_id
     where f.context = 'job' and f.noun = 'schedule' and f.event = 'fired' group by f.data->>'jobId' having count(j.id) <> 1`,
  "a job ran and does not say since when": `
    select j.id::text as ref
      from job.job j where j.start_time is null
       and exists (select from execution.execution e where e.job_id = j.id and e.start_time is not null)`,
  "a job has ended and a step of it has not": `
    select s.job_id || '/' || s.name as ref
      from job.job j join job.step s on s.job_id = j.id where j.end_time is not null and s.end_time is null`,
  "a job has succeeded and a step of it has not": `
    select s.job_id || '/' || s.name as ref
      from job.job j join job.step s on s.job_id = j.id
     where j.state = 'SUCCEEDED' and s.state not in ('SUCCEEDED', 'SKIPPED')
       and not exists (select from json_array_elements(j.spec->'steps') p
                        where p->>'name' = coalesce(s.parent, s.name) and (p->>'continueOnFailure')::boolean)`,
} as const;

const factRules = {
  "a log of facts has a gap": `
    select context || ' ' || aggregate_id as ref from fact
     group by context, aggregate_id having min(sequence) <> 1 or max(sequence) <> count(*)`,
  "an aggregate has not as many facts as it counts": `
    select a.context || ' ' || a.id || ' counts ' || a.sequence || ' and has ' || coalesce(max(f.sequence), 0) as ref
      from (select 'job' as context, id, sequence from job.job
            union all select 'job', id, sequence from job.template
            union all select 'job', id, sequence from job.schedule
            union all select 'provider', id, sequence from provider.provider
            union all select 'execution', id, sequence from execution.execution
            union all select 'orchestrator', id, sequence from orchestrator.saga) a
      left join fact f on f.context = a.context and f.aggregate_id = a.id
     group by a.context, a.id, a.sequence having coalesce(max(f.sequence), 0) <> a.sequence`,
  "an aggregate ended twice": `
    select context || ' ' || aggregate_id as ref from fact
     where is_terminal group by context, aggregate_id having count(*) > 1`,
  "something happened after the end": `
    select later.context || ' ' || later.aggregate_id || '#' || later.sequence as ref
      from fact later join fact ended using (context, aggregate_id)
     where ended.is_terminal and later.sequence > ended.sequence`,
  "time went backwards": `
    select a.context || ' ' || a.aggregate_id || '#' || b.sequence as ref
      from fact a join fact b on b.context = a.context and b.aggregate_id = a.aggregate_id and b.sequence = a.sequence + 1
     where b.time < a.time`,
  "a fact tells of a job that is not there": `
    select f.context || ' ' || f.id as ref
      from fact f left join job.job j on j.id::text = f.correlation_id where f.correlation_id <> '' and j.id is null`,
} as const;

const brokerRules = {
  "a fact is not published": `select context || ' ' || aggregate_id || '#' || sequence as ref from unpublished`,
  "a fact is not in its stream": `
    select f.context || ' ' || f.id as ref
      from fact f left join streamed s on s.id = f.id::text and s.context = f.context where s.id is null`,
  "a stream tells something that the log does not": `
    select s.context || ' ' || s.id as ref
      from streamed s left join fact f
        on f.id::text = s.id and f.context = s.context and f.aggregate_id::text = s.aggregate_id and f.sequence = s.sequence
       and s.type = 'capstan.' || f.context || '.v1.' || f.noun || '.' || f.event
     where f.id is null`,
  "a stream tells an aggregate's facts out of order": `
    select context || ' ' || aggregate_id || '#' || sequence as ref
      from (select context, aggregate_id, sequence,
                   lag(sequence) over (partition by context, aggregate_id order by first_position) as before
              from (select context, aggregate_id, sequence, min(position) as first_position
                      from streamed group by context, aggregate_id, sequence) as firsts) as told
     where sequence < before`,
  "a consumer is ahead of its stream": `select name as ref from consumer where delivered > last_position`,
  "a consumer has not handled everything": `
    select name || ': ' || pending || ' to come, ' || in_hand || ' in hand' as ref from consumer where pending > 0 or in_hand > 0`,
  "a dead letter is left": `select context || ' ' || subject || ': ' || error as ref from letter`,
} as const;

const pathRules = {
  "a saga has not ended": `
    select id || ' is ' || stage || ', ' || message as ref from orchestrator.saga where stage not in ('DONE', 'COMPENSATED')`,
  "an execution belongs to no saga": `
    select e.id::text as ref
      from execution.execution e
      left join orchestrator.saga s on s.id = e.id and s.job_id = e.job_id and s.step = e.step and s.attempt = e.attempt
     where s.id is null`,
  "a reservation belongs to no saga": `
    select r.id::text as ref from provider.reservation r left join orchestrator.saga s on s.id = r.id where s.id is null`,
  "a saga tells another end than its execution": `
    select s.id || ' tells ' || (s.outcome->>'type') || ' of ' || e.state as ref
      from orchestrator.saga s join execution.execution e on e.id = s.id
     where s.stage in ('DONE', 'COMPENSATED') and s.outcome->>'reason' <> 'OPERATOR' and s.outcome->>'type' <> e.state`,
  "a step has another end than its last saga": `
    select s.id || ' tells ' || (s.outcome->>'type') || ' of a step that is ' || t.state as ref
      from orchestrator.saga s
      join job.step t on t.job_id = s.job_id and t.name = s.step and t.attempt = s.attempt and t.end_time is not null
     where (s.outcome->>'type' = 'SUCCEEDED') <> (t.state = 'SUCCEEDED')`,
} as const;

const executionRules = {
  "an execution has not ended": `
    select id || ' is ' || state as ref from execution.execution where end_time is null`,
  "an execution is not in the state that its terminal fact tells": `
    select e.id || ' is ' || e.state as ref
      from execution.execution e left join fact f on f.context = 'execution' and f.aggregate_id = e.id and f.is_terminal
     where e.end_time is not null and upper(f.event) is distinct from e.state`,
  "two attempts of a step ran at the same time": `
    select a.id || ' and ' || b.id as ref
      from execution.execution a join execution.execution b on b.job_id = a.job_id and b.step = a.step and b.attempt > a.attempt
     where b.provider_id is not null and b.create_time < a.end_time`,
  "attempts of a step have a gap, or are more than its policy allows": `
    select e.job_id || '/' || e.step as ref
      from execution.execution e join job.step t on t.job_id = e.job_id and t.name = e.step
     group by e.job_id, e.step, t.retry->>'maxAttempts'
    having max(e.attempt) <> count(*) or count(*) > greatest(1, coalesce((t.retry->>'maxAttempts')::int, 1))`,
  "a step has succeeded without exactly one execution that did": `
    select t.job_id || '/' || t.name as ref
      from job.step t
      left join execution.execution e on e.job_id = t.job_id and e.step = t.name and e.state = 'SUCCEEDED'
     where t.state = 'SUCCEEDED'
       -- What only waits, or is its items, is not executed itself.
       and not exists (select from job.job j, json_array_elements(j.spec->'steps') p
                        where j.id = t.job_id and j.is_workflow and p->>'name' = coalesce(t.parent, t.name)
                          and (coalesce(p->'approval', p->'signal', p->'sleep', p->'subJob') is not null
                               or (p->'forEach' is not null and t.parent is null)))
       -- A retry keeps what has succeeded in the job it is a retry of.
       and not exists (select from execution.execution kept
                        where kept.id = t.execution_id and kept.job_id <> t.job_id and kept.step = t.name and kept.state = 'SUCCEEDED')
     group by t.job_id, t.name having count(e.id) <> 1`,
  "an execution has ended and its log is not sealed": `
    select id::text as ref from execution.execution
     where end_time is not null and provider_id is not null and log_sha256 = ''`,
  "a sealed log is not what is stored": `
    select e.id::text as ref
      from execution.execution e left join execution.log_chunk c on c.execution_id = e.id
     where e.log_sha256 <> ''
     group by e.id
    having e.log_sha256 <> encode(sha256(coalesce(string_agg(c.data, ''::bytea order by c.sequence), ''::bytea)), 'hex')
        or e.stdout_bytes <> coalesce(sum(length(c.data)) filter (where c.stream = 1), 0)
        or e.stderr_bytes <> coalesce(sum(length(c.data)) filter (where c.stream = 2), 0)`,
  "a log has a hole": `
    select c.execution_id || '#' || c.sequence as ref
      from (select execution_id, sequence, stream, byte_offset,
                   row_number() over (partition by execution_id order by sequence) as place,
                   coalesce(sum(length(data)) over (partition by execution_id, stream order by sequence
                            rows between unbounded preceding and 1 preceding), 0) as bytes_before
              from execution.log_chunk) c
     where c.sequence <> c.place or c.byte_offset <> c.bytes_before`,
} as const;

// A handler may tell its end only: then its execution has no `started` fact, and its job may have none.
const workerRules = {
  "a program has succeeded and its start was not told": `
    select e.id::text as ref
      from execution.execution e
     where e.state = 'SUCCEEDED' and e.kind is distinct from 'WORKER'
       and not exists (select from fact f
                        where f.context = 'execution' and f.aggregate_id = e.id and f.event = 'started')`,
  "a live handler belongs to no runner": `
    select e.id::text as ref
      from execution.execution e left join execution.runner r on r.id = e.lease_owner
     where e.kind = 'WORKER' and e.end_time is null and r.id is null`,
  "a worker is kept although its lease is over": `
    select id || ' of ' || pool as ref from execution.worker where lease_until < clock_timestamp()`,
  "a pool has not the slots of its workers": `
    select p.name || ' has ' || p.slots || ' of ' || coalesce(sum(w.slots), 0) as ref
      from provider.provider p
      left join execution.worker w on w.tenant = p.tenant and w.pool = p.name and w.is_connected and not w.is_draining
     where p.kind = 'WORKER' group by p.id having p.slots <> least(100000, coalesce(sum(w.slots), 0))`,
} as const;

const capacityRules = {
  "a reservation has not ended": `
    select id || ' is ' || state as ref from provider.reservation where end_time is null`,
  "a reservation is for a job that is not there": `
    select r.id::text as ref
      from provider.reservation r left join job.job j on j.id = r.job_id where r.provider_id is not null and j.id is null`,
  "a provider counts other reservations than live on it": `
    select p.name as ref
      from provider.provider p left join provider.reservation r on r.provider_id = p.id and r.end_time is null
     group by p.id
    having p.used_slots <> coalesce(sum(r.slots), 0) or p.used_cpu_millis <> coalesce(sum(r.cpu_millis), 0)
        or p.used_memory_mib <> coalesce(sum(r.memory_mib), 0) or p.live_reservations <> count(r.id)`,
  "a provider held more than it ever had": `
    select provider_id || ' held ' || max(held) || ' slots' as ref
      from (select provider_id, sum(change) over (partition by provider_id order by time, change) as held
              from (select provider_id, create_time as time, slots as change from provider.reservation
                    union all select provider_id, end_time, -slots from provider.reservation) as changes
             where time is not null and provider_id is not null) as history
     group by provider_id
    having max(held) > (select max((data->'provider'->'capacity'->>'slots')::int) from fact
                         where context = 'provider' and noun = 'provider' and aggregate_id = history.provider_id)`,
  "an execution ran without its reservation": `
    select e.id::text as ref
      from execution.execution e left join provider.reservation r on r.id = e.id and r.provider_id = e.provider_id
     where e.start_time is not null and (r.id is null or r.create_time > e.create_time or r.end_time < e.end_time)`,
  "a reservation was not told once when it was made and once when it ended": `
    select r.id::text as ref
      from provider.reservation r
      left join (select c->>'id' as id, c->>'state' as state
                   from fact f, json_array_elements(f.data->'reservations') c
                  where f.context = 'provider' and f.noun = 'reservation') told on told.id = r.id::text
     where r.provider_id is not null
     group by r.id
    having count(*) filter (where told.state = 'RESERVATION_STATE_HELD') <> 1
        or count(*) filter (where told.state = 'RESERVATION_STATE_' || r.state) <> 1`,
} as const;

const workloadRules = {
  "a workload is left although its execution is over": `
    select w.ref || ' of ' || e.id as ref
      from workload w join execution.execution e on e.id::text = w.execution_id where e.end_time is not null`,
} as const;

/** Every rule by its name, which says what is wrong. */
export const invariantRules = {
  ...jobRules,
  ...factRules,
  ...brokerRules,
  ...pathRules,
  ...executionRules,
  ...workerRules,
  ...capacityRules,
  ...workloadRules,
} as const satisfies Readonly<Record<string, string>>;

export type InvariantName = keyof typeof invariantRules;
