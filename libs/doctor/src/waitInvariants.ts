/** What waits for others than a place: steps for sub-jobs and signals, paused jobs, and the errands between a job and its sub-jobs. */
import type { Invariants } from "./invariant.ts";

export const waitInvariants = {
  "parents-hear-of-ends": {
    finding: "a sub-job has ended and the step that waits for it does not know",
    meaning: "The step, and its job, wait for ever.",
    severity: "error",
    reads: ["job"],
    holds: "always",
    sql: `
      select s.job_id || '/' || s.name || ' waits for ' || c.id as ref, c.id::text as key
        from job.job c
        join job.step s on s.job_id = c.parent_job_id and s.name = c.parent_step and s.attempt = c.parent_attempt
       where c.parent_job_id is not null and c.end_time < (select time from settled) and s.end_time is null
         and not exists (select from job.errand e where e.child_job_id = c.id)`,
    advice: "tell it again with --fix",
    repair: {
      does: "asks the job service to tell the step of it, within 10 s or at its start",
      statements: [
        `insert into job.errand (child_job_id, kind, parent_job_id, step, attempt)
         select id, 'TELL', parent_job_id, parent_step, parent_attempt from job.job
          where id::text = any($1::text[]) and parent_job_id is not null and end_time is not null
         on conflict do nothing`,
      ],
    },
  },
  "sub-jobs-have-a-parent": {
    finding: "a sub-job is of a job that is not there",
    meaning: "Nobody waits for what it does.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select c.id || ' of ' || c.parent_job_id as ref
        from job.job c
       where c.parent_job_id is not null and not exists (select from job.job p where p.id = c.parent_job_id)`,
    advice: "harmless if the job was deleted by hand; otherwise report it",
  },
  "errands-are-run": {
    finding: "an errand between a job and its sub-job is not run",
    meaning: "A sub-job is not submitted or not cancelled, or its end is not told.",
    severity: "warning",
    reads: ["job"],
    holds: "always",
    sql: `select kind || ' of ' || child_job_id || ' for ' || parent_job_id || '/' || step as ref from job.errand`,
    advice: "see whether the job service runs: capstan system health",
  },
  "signals-are-taken": {
    finding: "a step waits for a signal that is there",
    meaning: "Somebody has sent what the step waits for, and it waits on.",
    severity: "error",
    reads: ["job"],
    holds: "always",
    sql: `
      select s.job_id || '/' || s.name || ' waits for ' || g.name as ref
        from job.step s
        join job.job j on j.id = s.job_id and j.is_workflow and j.pause_time is null
       cross join lateral json_array_elements(j.spec->'steps') p
        join job.signal g on g.job_id = s.job_id and g.step is null and g.name = p->'signal'->>'name'
       where s.state = 'SUSPENDED' and p->>'name' = coalesce(s.parent, s.name)
         and s.state_time < (select time from settled) and g.create_time < (select time from settled)`,
    advice: "send the signal again under another request id; then report it",
  },
  "only-paused-jobs-are-held": {
    finding: "a saga is held and its job is not paused",
    meaning: "The job was told to go on, and does not.",
    severity: "error",
    reads: ["job", "orchestrator"],
    holds: "always",
    sql: `
      select g.id || ' of job ' || j.id as ref
        from orchestrator.saga g join job.job j on j.id = g.job_id
       where g.is_held and g.stage = 'WAITING' and j.pause_time is null and g.hold_time < (select time from settled)
         and j.state_time < (select time from settled)`,
    advice: "pause the job and let it go on again: capstan job pause, capstan job resume",
  },
} as const satisfies Invariants;
