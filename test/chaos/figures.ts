/** What a run measured: counts, and times by fault beside what they should be. */
import type { Client } from "pg";
import type { Done } from "./nemesis.ts";

/** In milliseconds, at the 99th percentile. */
const targets: Readonly<Record<string, number>> = {
  "kill-service recovery": 5_000,
  "kill-all-services recovery": 5_000,
  "stop-service stop": 25_000,
  "freeze-runner takeover": 14_000,
  "kill-nats facts flow": 5_000,
  "kill-postgres first submit": 10_000,
};

/** Leave order free: `p50 p99 worst` of each `fault figure`. */
export function timesOf(records: readonly Done[]): ReadonlyMap<string, readonly number[]> {
  const times = new Map<string, number[]>();
  for (const { kind, figures } of records) {
    for (const [name, ms] of Object.entries(figures)) {
      const key = `${kind} ${name}`;
      times.set(key, [...(times.get(key) ?? []), ms]);
    }
  }
  return times;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

const seconds = (ms: number) => (ms / 1_000).toFixed(2).padStart(8);

/** A line for each figure; what missed its target says so. */
export function tableOf(times: ReadonlyMap<string, readonly number[]>): string {
  const lines = [...times]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, values]) => {
      const [p50, p99] = [percentile(values, 0.5), percentile(values, 0.99)];
      const target = targets[name];
      const verdict = target === undefined ? "" : `  ${p99 <= target ? "within" : "MISSED"} ${target / 1_000} s`;
      return `  ${name.padEnd(34)}${String(values.length).padStart(4)} x ${seconds(p50)} ${seconds(p99)}${verdict}`;
    });
  return [`  ${"fault and figure, seconds".padEnd(34)}          p50      p99`, ...lines].join("\n");
}

export interface Counts {
  readonly accepted: number;
  readonly unknown: number;
  readonly refused: number;
  readonly lost: number;
  readonly jobs: number;
  readonly "jobs with other than one terminal fact": number;
  readonly facts: number;
  readonly "facts absent from their stream": number;
  readonly "messages delivered twice into a stream": number;
  readonly attempts: number;
  readonly "attempts that ran twice": number;
  readonly "attempts lost with what ran them": number;
  readonly "jobs that a lost attempt ended": number;
}

const counts = `
  select (select count(distinct job_id) from chk_submit where outcome = 'ok')::int as "accepted",
         (select count(*) from (select from chk_submit group by key having bool_and(outcome = 'unknown')) u)::int as "unknown",
         (select count(*) from (select from chk_submit group by key having bool_and(outcome = 'fail')) u)::int as "refused",
         (select count(distinct s.job_id) from chk_submit s where s.outcome = 'ok' and not exists (select from job.job j where j.id = s.job_id))::int as "lost",
         (select count(*) from job.job)::int as "jobs",
         (select count(*) from (select j.id from job.job j left join chk_fact f on f.context = 'job' and f.aggregate_id = j.id and f.is_terminal
            group by j.id having count(f.id) <> 1) t)::int as "jobs with other than one terminal fact",
         (select count(*) from chk_fact)::int as "facts",
         (select count(*) from chk_fact f where not exists (select from chk_message m where m.id = f.id))::int as "facts absent from their stream",
         (select count(*) - count(distinct id) from chk_message)::int as "messages delivered twice into a stream",
         (select count(*) from execution.execution where provider_id is not null)::int as "attempts",
         (select count(*) from (select from chk_effect where event = 'begin' group by execution_id having count(*) > 1) t)::int as "attempts that ran twice",
         (select count(*) from execution.execution where state = 'LOST')::int as "attempts lost with what ran them",
         (select count(*) from job.job where state = 'FAILED' and reason = 'LOST')::int as "jobs that a lost attempt ended"`;

/** Needs the session in which the check was made. */
export async function countAll(client: Pick<Client, "query">): Promise<Counts> {
  const { rows } = await client.query<Record<string, unknown>>(counts);
  return rows[0] as unknown as Counts;
}
