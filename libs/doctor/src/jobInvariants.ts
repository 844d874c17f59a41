/** Jobs and their steps: they end once, as their facts tell, and nothing in them stands still. */
import type { Invariants } from "./invariant.ts";

const keepForUs = "this is a defect: keep the job's facts (capstan job events) and report it";

export const jobInvariants = {
  "acknowledged-job-is-there": {
    finding: "a job that was acknowledged is not there",
    meaning: "A caller was told that a job is accepted, and it is lost.",
    severity: "error",
    reads: ["job"],
    sees: "acknowledged",
    holds: "at rest",
    sql: `select a.job_id::text as ref from acknowledged a left join job.job j on j.id = a.job_id where j.id is null`,
    advice: "submit it again with the same key",
  },
  "one-key-one-job": {
    finding: "one key has several jobs",
    meaning: "A call that was repeated has made a second job.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select tenant || '/' || key as ref
        from job.job, lateral (values (idempotency_key), (request_id)) as given (key)
       where key is not null group by tenant, key having count(distinct id) > 1`,
    advice: "look which of them did the work, and cancel the other",
  },
  "job-ends": {
    finding: "a job has not ended",
    meaning: "When nothing is under way any more, every job has ended.",
    severity: "error",
    reads: ["job"],
    holds: "at rest",
    sql: `select id || ' is ' || state || ', ' || reason || ' ' || message as ref from job.job where end_time is null`,
    advice: "capstan explain <job>",
  },
  "job-has-one-end": {
    finding: "a job has not exactly one terminal fact",
    meaning: "Whoever waits for the end of the job by its facts waits for ever, or is told twice.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select j.id || ' has ' || count(f.id) as ref
        from job.job j left join fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
       where j.end_time is not null group by j.id having count(f.id) <> 1`,
    advice: keepForUs,
  },
  "job-ended-as-told": {
    finding: "a job is not in the state that its terminal fact tells",
    meaning: "Those who ask and those who listen are told different ends.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select j.id || ' is ' || j.state || ' and told ' || f.event as ref
        from job.job j join fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
       where f.noun <> 'job' or upper(f.event) <> j.state`,
    advice: keepForUs,
  },
  "job-goes-forward": {
    finding: "the state of a job went backwards",
    meaning: "Whoever follows the job saw it run and then wait to run.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select a.aggregate_id || '#' || b.sequence as ref
        from fact a join fact b on b.aggregate_id = a.aggregate_id and b.sequence = a.sequence + 1
       where a.context = 'job' and b.context = 'job'
         and array_position(array['PENDING', 'RUNNING', 'CANCELLING'], substr(b.data->>'state', 11))
           < coalesce(array_position(array['PENDING', 'RUNNING', 'CANCELLING'], substr(a.data->>'state', 11)), 9)`,
    advice: keepForUs,
  },
  "job-begins-once": {
    finding: "a job began twice",
    meaning: "Whoever does something at the start of a job did it twice.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select aggregate_id::text as ref from fact
       where context = 'job' and noun = 'job' and event = 'started' group by aggregate_id having count(*) > 1`,
    advice: keepForUs,
  },
  "job-says-since-when": {
    finding: "a job ran and does not say since when",
    meaning: "How long the job took cannot be told.",
    severity: "error",
    reads: ["job", "execution"],
    holds: "history",
    sql: `
      select j.id::text as ref
        from job.job j where j.start_time is null and j.end_time is not null
         and exists (select from execution.execution e where e.job_id = j.id and e.start_time is not null)`,
    advice: keepForUs,
  },
  "steps-end-with-job": {
    finding: "a job has ended and a step of it has not",
    meaning: "The step is shown as if it still ran.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select s.job_id || '/' || s.name as ref
        from job.job j join job.step s on s.job_id = j.id where j.end_time is not null and s.end_time is null`,
    advice: keepForUs,
  },
  "success-of-all-steps": {
    finding: "a job has succeeded and a step of it has not",
    meaning: "The job is called a success although part of its work was not done.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    // Items are judged by their step, and what runs after the outcome is decided does not change it.
    sql: `
      select s.job_id || '/' || s.name as ref
        from job.job j join job.step s on s.job_id = j.id
       where j.state = 'SUCCEEDED' and s.state not in ('SUCCEEDED', 'SKIPPED') and s.end_time is not null and s.parent is null
         and not exists (select from json_array_elements(j.spec->'steps') p
                          where p->>'name' = s.name and (p->>'continueOnFailure')::boolean)
         and not exists (select from json_array_elements_text(j.spec->'onSuccess') hook where hook = s.name)`,
    advice: keepForUs,
  },
  "job-can-move": {
    finding: "a job lives and nothing in it can move",
    meaning: "The job waits for ever: no step of it is placed, runs, or is due at a time.",
    severity: "error",
    reads: ["job"],
    holds: "always",
    sql: `
      select j.id || ' is ' || j.state || ', ' || j.reason as ref
        from job.job j
       where j.end_time is null and j.pause_time is null and j.state_time < (select time from settled)
         and not exists (select from job.step s
                          where s.job_id = j.id
                            and (s.state in ('READY', 'RUNNING', 'BACKOFF', 'SUSPENDED') or s.end_time is null and s.due_time is not null))
         and not exists (select from job.step s where s.job_id = j.id and s.state_time >= (select time from settled))`,
    advice: "capstan job cancel <job>, and submit it again; then report it",
  },
  "deadlines-are-kept": {
    finding: "a job lives although its deadline is over",
    meaning: "The job runs longer than it may.",
    severity: "warning",
    reads: ["job"],
    holds: "always",
    sql: `
      select id || ' had to end at ' || deadline_time as ref
        from job.job
       where deadline_time < (select time from settled) - interval '1 minute' and state in ('PENDING', 'RUNNING')`,
    advice: "see whether the job service runs: capstan system health",
  },
  "due-steps-move": {
    finding: "a step is due and has not moved",
    meaning: "A retry, a delayed start or the end of a wait is late.",
    severity: "warning",
    reads: ["job"],
    holds: "always",
    sql: `
      select job_id || '/' || name || ' was due at ' || due_time as ref
        from job.step s
       where due_time < (select time from settled) - interval '1 minute' and end_time is null
         and not exists (select from job.job j where j.id = s.job_id and j.pause_time is not null)`,
    advice: "see whether the job service runs: capstan system health",
  },
} as const satisfies Invariants;
