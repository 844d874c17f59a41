/** The statements of signals to jobs. */
import type { Db } from "@capstan/postgres";
import type { KeptSignal, TakenSignal } from "./inbox.ts";

interface NewSignal {
  readonly jobId: string;
  readonly name: string;
  readonly payload: unknown;
  /** Null for a signal that is not repeated. */
  readonly requestId: string | null;
}

/** Keeps a signal; null if the job had one with its request id. Waits for a transaction that is about to keep the same. */
export async function insertSignal(db: Db, { jobId, name, payload, requestId }: NewSignal): Promise<string | null> {
  const { rows } = await db.query<{ number: string }>({
    name: "insert_signal",
    text: `insert into job.signal (job_id, name, request_id, payload) values ($1, $2, $3, $4)
           on conflict (job_id, request_id) where request_id is not null do nothing
           returning number::text as number`,
    values: [jobId, name, requestId, JSON.stringify(payload ?? null)],
  });
  return rows[0]?.number ?? null;
}

/** What became of a signal by its number or its request id. */
export async function findSignal(
  db: Db,
  {
    jobId,
    number,
    requestId,
  }: { readonly jobId: string; readonly number: string | null; readonly requestId: string | null },
): Promise<{ readonly name: string; readonly step: string | null } | null> {
  const { rows } = await db.query<{ name: string; step: string | null }>({
    name: "find_signal",
    text: `select name, step from job.signal where job_id = $1 and (number = $2::bigint or request_id = $3)`,
    values: [jobId, number, requestId],
  });
  return rows[0] ?? null;
}

/** The signals of jobs that no step has taken, the oldest first. The caller has locked the jobs. */
export async function loadKeptSignals(db: Db, jobIds: readonly string[]): Promise<Map<string, readonly KeptSignal[]>> {
  const { rows } = await db.query<{ job_id: string; number: string; name: string; payload: string }>({
    name: "load_kept_signals",
    text: `select job_id, number::text as number, name, payload::text as payload
             from job.signal
            where job_id = any($1::uuid[]) and step is null
            order by job_id, signal.number`,
    values: [jobIds],
  });
  const byJob = Map.groupBy(rows, ({ job_id }) => job_id);
  return new Map(
    [...byJob].map(([jobId, some]) => [
      jobId,
      some.map(({ number, name, payload }) => ({ number, name, payload: JSON.parse(payload) as unknown })),
    ]),
  );
}

/** Keeps who has taken which. What they carried is the steps' now. */
export async function saveTakenSignals(
  db: Db,
  signals: readonly (TakenSignal & { readonly jobId: string })[],
): Promise<void> {
  await db.query({
    name: "save_taken_signals",
    text: `update job.signal s set step = taken.step, payload = null
             from unnest($1::uuid[], $2::bigint[], $3::text[]) as taken (job_id, number, step)
            where s.job_id = taken.job_id and s.number = taken.number`,
    values: [signals.map(({ jobId }) => jobId), signals.map(({ number }) => number), signals.map(({ step }) => step)],
  });
}
