/** Schedules and templates: runs by the clock come in time, and what they were made from is there. */
import type { Invariants } from "./invariant.ts";

export const scheduleInvariants = {
  "schedules-fire-in-time": {
    finding: "the next run of a schedule is overdue",
    meaning: "A job that somebody counts on at that time was not submitted.",
    severity: "error",
    reads: ["job"],
    holds: "always",
    sql: `
      select name || ' (' || tenant || ') was due at ' || next_fire_time as ref
        from job.schedule where next_fire_time < (select time from settled) - interval '1 minute'`,
    advice:
      "see whether the job service runs: capstan system health; it makes up for what was missed as the schedule says",
  },
  "runs-have-a-job": {
    finding: "the last run of a schedule has no job",
    meaning: "The schedule says that it has run, and it has not.",
    severity: "error",
    reads: ["job"],
    holds: "always",
    sql: `
      select s.name || ' (' || s.tenant || ') names ' || s.last_job_id as ref
        from job.schedule s left join job.job j on j.id = s.last_job_id where s.last_job_id is not null and j.id is null`,
    advice: "harmless if the job was deleted by hand; otherwise run the schedule now",
  },
  "told-runs-have-one-job": {
    finding: "a run that a schedule tells of has not exactly one job, or is told twice",
    meaning: "What was to be done at that time was not done, or was done twice.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select f.data->>'jobId' as ref
        from fact f left join job.job j on j.id::text = f.data->>'jobId' and j.schedule_id = f.aggregate_id
       where f.context = 'job' and f.noun = 'schedule' and f.event = 'fired' group by f.data->>'jobId' having count(j.id) <> 1`,
    advice: "harmless if the job was deleted by hand; otherwise report it",
  },
  "buffered-runs-begin": {
    finding: "a run of a schedule waits for another one that has ended",
    meaning: "The run would begin only when the schedule is next looked at, or never.",
    severity: "error",
    reads: ["job"],
    holds: "always",
    sql: `
      select s.name || ' (' || s.tenant || ') keeps the run of ' || s.buffered_time as ref
        from job.schedule s
       where s.buffered_time < (select time from settled) and s.update_time < (select time from settled)
         and not exists (select from job.job j
                          where j.schedule_id = s.id and (j.end_time is null or j.end_time >= (select time from settled)))`,
    advice: "see whether the job service runs: capstan system health",
  },
  "jobs-are-of-published-versions": {
    finding: "a job says that it is of a version of a template that was never published",
    meaning: "What the job was made from cannot be looked up.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select j.id || ' of ' || j.template || ' version ' || j.template_version as ref
        from job.job j
        left join job.template t on t.tenant = j.tenant and t.name = j.template
        left join job.template_version v on v.template_id = t.id and v.version = j.template_version and v.state <> 'DRAFT'
       where j.template is not null and v.version is null`,
    advice: "harmless if the template was deleted by hand; otherwise report it",
  },
} as const satisfies Invariants;
