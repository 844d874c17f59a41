/** Queues: what counts against a limit has its place, and what is to be done about waiting is done. */
import type { Invariants } from "./invariant.ts";

export const queueInvariants = {
  "only-live-sagas-are-counted": {
    finding: "a saga counts against the limits of its queue and has no place",
    meaning: "The queue lets fewer jobs run at once than it may.",
    severity: "error",
    reads: ["orchestrator"],
    holds: "always",
    sql: `
      select id || ' of queue ' || queue || ' is ' || stage as ref, id::text as key
        from orchestrator.saga
       where is_counted and stage in ('DONE', 'COMPENSATED', 'SETTLING') and stage_time < (select time from settled)`,
    advice: "let it go with --fix",
    repair: {
      does: "counts the saga no more",
      statements: [
        `update orchestrator.saga set is_counted = false
          where id::text = any($1::text[]) and is_counted and stage in ('DONE', 'COMPENSATED', 'SETTLING')`,
      ],
    },
  },
  "wait-rules-are-followed": {
    finding: "it is overdue to look at an attempt that waits",
    meaning: "What a queue wants done about those that wait too long is not done.",
    severity: "warning",
    reads: ["orchestrator"],
    holds: "always",
    sql: `
      select t.saga_id || ' was due at ' || t.due_time as ref
        from orchestrator.wait_timer t join orchestrator.saga g on g.id = t.saga_id and g.stage = 'WAITING'
       where t.due_time < (select time from settled) - interval '1 minute'`,
    advice: "see whether the orchestrator runs: capstan system health",
  },
  "begun-is-of-sagas": {
    finding: "a queue counts the beginning of a saga that is not there",
    meaning: "The rate of the queue is used up by what never began.",
    severity: "warning",
    reads: ["orchestrator"],
    holds: "always",
    sql: `
      select b.saga_id || ' of queue ' || b.queue as ref
        from orchestrator.begun b left join orchestrator.saga g on g.id = b.saga_id where g.id is null`,
    advice: "it is forgotten after the period of the rate; report it",
  },
  "depth-limits-are-told": {
    finding: "the job service knows another depth of a queue than is set",
    meaning: "Jobs are refused that the queue would take, or the other way round.",
    severity: "warning",
    reads: ["job", "orchestrator"],
    holds: "always",
    sql: `
      select q.tenant || '/' || q.name || ' is ' || coalesce(q.settings->>'maxDepth', '0') || ' and known as ' || coalesce(l.max_depth, 0) as ref
        from orchestrator.queue q full join job.queue_limit l on l.tenant = q.tenant and l.queue = q.name
       where coalesce((q.settings->>'maxDepth')::int, 0) <> coalesce(l.max_depth, 0)
         and coalesce(q.update_time, '-infinity') < (select time from settled)`,
    advice: "see whether the orchestrator reaches the job service: capstan system health",
  },
} as const satisfies Invariants;
