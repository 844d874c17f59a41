/** The path of each attempt over the services: none works without a saga, none contradicts it, and no saga stands still. */
import type { Invariants, Repair } from "./invariant.ts";

const keepForUs = "this is a defect: keep the output of capstan explain <job> and report it";
const wakingStages = "('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING')";

const wake: Repair = {
  does: "wakes the saga: the orchestrator sends the command of its stage again, which changes nothing that was done",
  statements: [
    `update orchestrator.saga set wakeup_time = clock_timestamp(), version = version + 1
      where id::text = any($1::text[]) and stage in ${wakingStages}`,
  ],
};

export const sagaInvariants = {
  "sagas-end": {
    finding: "a saga has not ended",
    meaning: "When nothing is under way any more, every saga has ended.",
    severity: "error",
    reads: ["orchestrator"],
    holds: "at rest",
    sql: `
      select id || ' is ' || stage || ', ' || message as ref from orchestrator.saga where stage not in ('DONE', 'COMPENSATED')`,
    advice: "capstan saga list",
  },
  "sagas-wake-in-time": {
    finding: "a saga should have been woken and was not",
    meaning: "An attempt stands still: nobody repeats the command that was lost.",
    severity: "warning",
    reads: ["orchestrator"],
    holds: "always",
    sql: `
      select id || ' is ' || stage || ' and was to be woken at ' || wakeup_time as ref, id::text as key
        from orchestrator.saga
       where stage in ${wakingStages} and wakeup_time < (select time from settled) - interval '1 minute'`,
    advice: "see whether the orchestrator runs: capstan system health",
    repair: wake,
  },
  "claims-run-out": {
    finding: "a waiting saga is claimed for longer than any claim lasts",
    meaning: "Nobody places it until then: its job waits without a reason.",
    severity: "error",
    reads: ["orchestrator"],
    holds: "always",
    sql: `
      select id || ' is claimed until ' || claim_until as ref, id::text as key
        from orchestrator.saga where stage = 'WAITING' and claim_until > clock_timestamp() + interval '5 minutes'`,
    advice: "give it back with --fix; the clock of the Postgres server was set back",
    repair: {
      does: "gives the saga back to its queue",
      statements: [
        `update orchestrator.saga set claim_until = '-infinity', version = version + 1
          where id::text = any($1::text[]) and stage = 'WAITING' and claim_until > clock_timestamp() + interval '5 minutes'`,
      ],
    },
  },
  "nothing-is-parked": {
    finding: "a saga is parked",
    meaning: "Its job waits for an operator: a command was refused in a way that repeating does not cure.",
    severity: "warning",
    reads: ["orchestrator"],
    holds: "always",
    sql: `
      select id || ' of job ' || job_id || ': ' || message as ref
        from orchestrator.saga where stage = 'PARKED' and stage_time < (select time from settled)`,
    advice: "mend the cause, then capstan saga retry <id>, or skip or compensate it",
  },
  "ready-steps-have-a-saga": {
    finding: "a step is READY and no saga knows it",
    meaning: "Nobody looks for a place for it: its job waits for ever.",
    severity: "error",
    reads: ["job", "orchestrator"],
    holds: "always",
    // Longer than JetStream remembers the id of a fact: before, what is listed again would be dropped as a repetition.
    sql: `
      select s.job_id || '/' || s.name || ' attempt ' || s.attempt as ref, s.job_id::text as key
        from job.step s
        join job.job j on j.id = s.job_id and j.end_time is null
        left join orchestrator.saga g on g.job_id = s.job_id and g.step = s.name and g.attempt = s.attempt
       where s.state = 'READY' and s.state_time < (select time from settled) - interval '11 minutes' and g.id is null`,
    advice: "tell of it again with --fix",
    repair: {
      does: "lists the facts of the job in the outbox again, which tell the orchestrator of the step",
      statements: [
        `insert into job.outbox (aggregate_ids, sequences)
         select array_agg(e.aggregate_id order by e.sequence), array_agg(e.sequence order by e.sequence)
           from job.event e where e.aggregate_id = any($1::text[]::uuid[])
          group by e.aggregate_id`,
      ],
    },
  },
  "running-steps-have-a-saga": {
    finding: "a step runs and no saga leads it",
    meaning: "Nobody will report its end: its job runs for ever.",
    severity: "error",
    reads: ["job", "orchestrator"],
    holds: "always",
    sql: `
      select s.job_id || '/' || s.name || ' attempt ' || s.attempt as ref
        from job.step s
       where s.state = 'RUNNING' and s.execution_id is not null and s.state_time < (select time from settled) - interval '5 minutes'
         and not exists (select from orchestrator.saga g
                          where g.job_id = s.job_id and g.step = s.name and g.attempt = s.attempt
                            and (g.stage not in ('DONE', 'COMPENSATED') or g.stage_time > (select time from settled)))`,
    advice: "capstan job cancel <job>, and submit it again; then report it",
  },
  "sagas-end-with-their-job": {
    finding: "a job has ended and a saga of it has not",
    meaning: "Something is still held, or runs, for a job that is over.",
    severity: "error",
    reads: ["job", "orchestrator"],
    holds: "always",
    sql: `
      select g.id || ' is ' || g.stage || ' of job ' || j.id as ref, g.id::text as key
        from orchestrator.saga g join job.job j on j.id = g.job_id
       where g.stage not in ('DONE', 'COMPENSATED', 'PARKED')
         and j.end_time < (select time from settled) - interval '5 minutes'`,
    advice: "wake it with --fix; if that does not help, capstan saga compensate <id>",
    repair: wake,
  },
  "sagas-hear-of-ends": {
    finding: "an execution has ended and its saga does not know",
    meaning: "Its job is shown as running, and its place is held, although the work is done.",
    severity: "error",
    reads: ["execution", "orchestrator"],
    holds: "always",
    sql: `
      select g.id || ' is ' || g.stage || ' and its execution ' || e.state as ref, g.id::text as key
        from orchestrator.saga g join execution.execution e on e.id = g.id
       where g.stage in ('RESERVED', 'STARTED') and e.end_time < (select time from settled) - interval '5 minutes'`,
    advice: "wake it with --fix",
    repair: wake,
  },
  "executions-have-a-saga": {
    finding: "an execution belongs to no saga",
    meaning: "Work is done that nobody asked for, or nobody will settle it.",
    severity: "error",
    reads: ["execution", "orchestrator"],
    holds: "history",
    sql: `
      select e.id::text as ref
        from execution.execution e
        left join orchestrator.saga s on s.id = e.id and s.job_id = e.job_id and s.step = e.step and s.attempt = e.attempt
       where s.id is null and e.create_time < (select time from settled)`,
    advice: keepForUs,
  },
  "reservations-have-a-saga": {
    finding: "a reservation belongs to no saga",
    meaning: "Capacity is held that nobody will give back.",
    severity: "error",
    reads: ["provider", "orchestrator"],
    holds: "history",
    sql: `
      select r.id::text as ref
        from provider.reservation r left join orchestrator.saga s on s.id = r.id
       where s.id is null and r.create_time < (select time from settled)`,
    advice: "one that still lives is given back by the finding reservations-end-with-their-saga",
  },
  "sagas-tell-the-end": {
    finding: "a saga tells another end than its execution",
    meaning: "The job was told another outcome than its work had.",
    severity: "error",
    reads: ["execution", "orchestrator"],
    holds: "history",
    sql: `
      select s.id || ' tells ' || (s.outcome->>'type') || ' of ' || e.state as ref
        from orchestrator.saga s join execution.execution e on e.id = s.id
       where s.stage in ('DONE', 'COMPENSATED') and s.outcome->>'reason' <> 'OPERATOR' and s.outcome->>'type' <> e.state`,
    advice: keepForUs,
  },
  "steps-end-as-their-saga": {
    finding: "a step has another end than its last saga",
    meaning: "The step is called a success and was none, or the other way round.",
    severity: "error",
    reads: ["job", "orchestrator"],
    holds: "history",
    sql: `
      select s.id || ' tells ' || (s.outcome->>'type') || ' of a step that is ' || t.state as ref
        from orchestrator.saga s
        join job.step t on t.job_id = s.job_id and t.name = s.step and t.attempt = s.attempt and t.end_time is not null
       where (s.outcome->>'type' = 'SUCCEEDED') <> (t.state = 'SUCCEEDED')`,
    advice: keepForUs,
  },
  "attempts-have-no-gap": {
    finding: "attempts of a step have a gap, or are more than its policy allows",
    meaning: "A step was tried more often than its author allowed, or an attempt is lost.",
    severity: "error",
    reads: ["job", "orchestrator"],
    holds: "history",
    sql: `
      select g.job_id || '/' || g.step as ref
        from orchestrator.saga g join job.step t on t.job_id = g.job_id and t.name = g.step
       group by g.job_id, g.step, t.retry->>'maxAttempts'
      having max(g.attempt) <> count(*) or count(*) > greatest(1, coalesce((t.retry->>'maxAttempts')::int, 1))`,
    advice: keepForUs,
  },
} as const satisfies Invariants;
