/** Executions and their logs: each is told as it was, none beside another of its step, and no output is missing. */
import type { Invariants } from "./invariant.ts";

const keepForUs = "this is a defect: keep the output of capstan explain <job> and report it";

/** Reading the output of all executions would take hours: the newest with an output of moderate size tell enough. */
const sample = `
  (select * from execution.execution
    where end_time is not null and log_sha256 <> '' and stdout_bytes + stderr_bytes < 1048576
    order by create_time desc limit 1000)`;

export const executionInvariants = {
  "executions-end": {
    finding: "an execution has not ended",
    meaning: "When nothing is under way any more, every execution has ended.",
    severity: "error",
    reads: ["execution"],
    holds: "at rest",
    sql: `select id || ' is ' || state as ref from execution.execution where end_time is null`,
    advice: "capstan execution list",
  },
  "executions-ended-as-told": {
    finding: "an execution is not in the state that its terminal fact tells",
    meaning: "The job was told another outcome than is recorded.",
    severity: "error",
    reads: ["execution"],
    holds: "history",
    sql: `
      select e.id || ' is ' || e.state as ref
        from execution.execution e left join fact f on f.context = 'execution' and f.aggregate_id = e.id and f.is_terminal
       where e.end_time is not null and upper(f.event) is distinct from e.state`,
    advice: keepForUs,
  },
  "one-attempt-at-a-time": {
    finding: "two attempts of a step ran at the same time",
    meaning: "Work that may be done once at a time was done twice at a time.",
    severity: "error",
    reads: ["execution"],
    holds: "history",
    sql: `
      select a.id || ' and ' || b.id as ref
        from execution.execution a join execution.execution b on b.job_id = a.job_id and b.step = a.step and b.attempt > a.attempt
       where b.provider_id is not null and b.create_time < coalesce(a.end_time, 'infinity')`,
    advice: keepForUs,
  },
  "success-has-one-execution": {
    finding: "a step has succeeded without exactly one execution that did",
    meaning: "The step is called a success without its work, or its work was done twice.",
    severity: "error",
    reads: ["job", "execution"],
    holds: "history",
    sql: `
      select t.job_id || '/' || t.name as ref
        from job.step t
        left join (select job_id, step, count(*) as count from execution.execution where state = 'SUCCEEDED' group by job_id, step) e
          on e.job_id = t.job_id and e.step = t.name
       where t.state = 'SUCCEEDED' and coalesce(e.count, 0) <> 1
         -- A retry keeps what has succeeded in the job it is a retry of.
         and not exists (select from execution.execution kept
                          where kept.id = t.execution_id and kept.job_id <> t.job_id and kept.step = t.name and kept.state = 'SUCCEEDED')
         -- What only waits, or is its items, is not executed itself.
         and not exists (select from job.job j, json_array_elements(j.spec->'steps') p
                          where j.id = t.job_id and j.is_workflow and p->>'name' = coalesce(t.parent, t.name)
                            and (coalesce(p->'approval', p->'signal', p->'sleep', p->'subJob') is not null
                                 or (p->'forEach' is not null and t.parent is null)))`,
    advice: keepForUs,
  },
  "starts-are-told": {
    finding: "a program has succeeded and its start was not told",
    meaning: "Whoever does something when a program starts has not done it.",
    severity: "error",
    reads: ["execution"],
    holds: "history",
    // A handler may tell its end only.
    sql: `
      select e.id::text as ref
        from execution.execution e
       where e.state = 'SUCCEEDED' and e.kind is distinct from 'WORKER'
         and not exists (select from fact f
                          where f.context = 'execution' and f.aggregate_id = e.id and f.event = 'started')`,
    advice: keepForUs,
  },
  "executions-end-with-their-saga": {
    finding: "a saga has ended and its execution has not",
    meaning: "Something runs that nobody waits for.",
    severity: "error",
    reads: ["execution", "orchestrator"],
    holds: "always",
    sql: `
      select e.id || ' is ' || e.state || ' of job ' || e.job_id as ref
        from execution.execution e join orchestrator.saga g on g.id = e.id
       where e.end_time is null and g.stage in ('DONE', 'COMPENSATED')
         and g.stage_time < (select time from settled) - interval '2 minutes'`,
    advice: "capstan execution get <id> says where it runs: end it there; then report it",
  },
  "logs-are-sealed": {
    finding: "an execution has ended and its log is not sealed",
    meaning: "Whether its output is whole cannot be told.",
    severity: "error",
    reads: ["execution"],
    holds: "history",
    sql: `
      select id::text as ref from execution.execution
       where end_time is not null and provider_id is not null and log_sha256 = ''`,
    advice: keepForUs,
  },
  "logs-are-as-sealed": {
    finding: "a sealed log is not what is stored",
    meaning: "Output is missing, or was changed. Of the newest 1,000 with less than 1 MiB.",
    severity: "error",
    reads: ["execution"],
    holds: "history",
    sql: `
      select e.id::text as ref
        from ${sample} e left join execution.log_chunk c on c.execution_id = e.id
       group by e.id, e.log_sha256, e.stdout_bytes, e.stderr_bytes
      having e.log_sha256 <> encode(sha256(coalesce(string_agg(c.data, ''::bytea order by c.sequence), ''::bytea)), 'hex')
          or e.stdout_bytes <> coalesce(sum(length(c.data)) filter (where c.stream = 1), 0)
          or e.stderr_bytes <> coalesce(sum(length(c.data)) filter (where c.stream = 2), 0)`,
    advice: keepForUs,
  },
  "logs-have-no-hole": {
    finding: "a log has a hole",
    meaning: "Output is missing in the middle. Of the newest 1,000 with less than 1 MiB.",
    severity: "error",
    reads: ["execution"],
    holds: "history",
    sql: `
      select c.execution_id || '#' || c.sequence as ref
        from (select execution_id, sequence, stream, byte_offset,
                     row_number() over (partition by execution_id order by sequence) as place,
                     coalesce(sum(length(data)) over (partition by execution_id, stream order by sequence
                              rows between unbounded preceding and 1 preceding), 0) as bytes_before
                from execution.log_chunk where execution_id in (select id from ${sample} as newest)) c
       where c.sequence <> c.place or c.byte_offset <> c.bytes_before`,
    advice: keepForUs,
  },
} as const satisfies Invariants;
