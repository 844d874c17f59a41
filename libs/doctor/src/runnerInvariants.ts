/** Runners, workers, and what runs outside of the platform: whatever lives has an owner, and what is over is gone. */
import type { Invariants } from "./invariant.ts";

export const runnerInvariants = {
  "live-executions-have-a-runner": {
    finding: "a live execution belongs to no runner",
    meaning: "Nobody watches it: its end is not noticed.",
    severity: "error",
    reads: ["execution"],
    holds: "always",
    sql: `
      select e.id || ' is ' || e.state as ref
        from execution.execution e left join execution.runner r on r.id = e.lease_owner
       where e.end_time is null and r.id is null and e.create_time < (select time from settled)`,
    advice: "start an execution service: it takes over what nobody owns",
  },
  "runners-keep-their-lease": {
    finding: "a runner is kept although its lease is over",
    meaning: "What it ran has not been taken over by another one.",
    severity: "error",
    reads: ["execution"],
    holds: "always",
    sql: `
      select id || ' of process ' || pid || ' holds ' ||
             (select count(*) from execution.execution e where e.lease_owner = r.id and e.end_time is null) as ref
        from execution.runner r where lease_until < (select time from settled)`,
    advice: "start an execution service: it takes over what the runner held",
  },
  "workers-keep-their-lease": {
    finding: "a worker is kept although its lease is over",
    meaning: "What it ran is shown as running and is lost.",
    severity: "error",
    reads: ["execution"],
    holds: "always",
    sql: `select id || ' of ' || pool as ref from execution.worker where lease_until < (select time from settled)`,
    advice: "start an execution service: it gives up what the worker had",
  },
  "pools-have-their-workers": {
    finding: "a pool has not the slots of its workers",
    meaning: "Jobs wait although workers are idle, or are sent where nobody takes them.",
    severity: "error",
    reads: ["provider", "execution"],
    holds: "always",
    sql: `
      select p.name || ' has ' || p.slots || ' of ' || coalesce(sum(w.slots), 0) as ref
        from provider.provider p
        left join execution.worker w on w.tenant = p.tenant and w.pool = p.name and w.is_connected and not w.is_draining
       where p.kind = 'WORKER' group by p.id having p.slots <> least(100000, coalesce(sum(w.slots), 0))`,
    advice: "see whether the execution service reaches the provider service: capstan system health",
  },
  "workloads-end-with-their-execution": {
    finding: "a workload is left although its execution is over",
    meaning: "A process or a container goes on, or is left lying about, and nobody knows.",
    severity: "error",
    reads: ["execution"],
    sees: "workloads",
    holds: "always",
    sql: `
      select w.ref || ' of ' || e.id as ref
        from workload w join execution.execution e on e.id::text = w.execution_id
       where e.end_time < (select time from settled)`,
    advice: "an execution service removes it within 30 s; without one, kill the process or docker rm -f the container",
  },
  "running-containers-are-there": {
    finding: "an execution runs in an engine that has no container of it",
    meaning: "The container is gone, and the job is shown as running.",
    severity: "error",
    reads: ["execution"],
    sees: "workloads",
    holds: "always",
    sql: `
      select e.id || ' on ' || e.provider_name as ref
        from execution.execution e join engine on engine.provider_id = e.provider_id
       where e.state = 'RUNNING' and e.end_time is null and e.start_time < (select time from settled)
         and not exists (select from workload w where w.execution_id = e.id::text)`,
    advice: "an execution service notices and calls it LOST; see whether one runs",
  },
} as const satisfies Invariants;
