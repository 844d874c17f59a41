/** The statements that only workflows need: their items, how they are going to end, and what their steps gave back. */
import type { Db } from "@capstan/postgres";
import type { Ending, Step } from "./job.ts";
import { maxReadBytes, type StoredResult, type WantedResults } from "./results.ts";

/** The specs of jobs, as JSON. */
export async function loadSpecs(db: Db, ids: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await db.query<{ id: string; spec: string }>({
    name: "load_specs",
    text: "select id, spec::text as spec from job.job where id = any($1::uuid[])",
    values: [ids],
  });
  return new Map(rows.map(({ id, spec }) => [id, spec]));
}

/** Results of steps of a job. */
interface WantedOfJob extends WantedResults {
  readonly jobId: string;
}

/**
 * What was wanted, by name of the step, in the order of the wants; null where it is surely longer than it may be, or all of a job is. What is stored may be
 * shorter than what it says, so what comes back is to be measured.
 */
export async function loadResults(
  db: Db,
  wants: readonly WantedOfJob[],
): Promise<readonly (ReadonlyMap<string, StoredResult> | null)[]> {
  const each = wants.flatMap(({ jobId, steps, maxBytes }, at) => steps.map((name) => ({ at, jobId, name, maxBytes })));
  const { rows } = await db.query<{ at: number; name: string; is_too_long: boolean; result: string | null }>({
    name: "load_results",
    text: `select at, name, is_too_long, case when not is_too_long then result::text end as result
             from (select want.at, s.name, s.result,
                          coalesce(sum(pg_column_size(s.result)) over (partition by want.at) > want.max_bytes, false)
                            or sum(pg_column_size(s.result)) over (partition by want.job_id) > $5 as is_too_long
                     from unnest($1::int[], $2::uuid[], $3::text[], $4::int[]) as want (at, job_id, name, max_bytes)
                     join job.step s on s.job_id = want.job_id and s.name = want.name) found`,
    values: [
      each.map(({ at }) => at),
      each.map(({ jobId }) => jobId),
      each.map(({ name }) => name),
      each.map(({ maxBytes }) => maxBytes),
      maxReadBytes,
    ],
  });
  const found = Map.groupBy(rows, ({ at }) => at);
  return wants.map((_, at) => {
    const own = found.get(at) ?? [];
    if (own.some(({ is_too_long }) => is_too_long)) return null;
    return new Map(own.map(({ name, result }) => [name, storedOf(result)]));
  });
}

function storedOf(json: string | null): StoredResult {
  return json === null ? { result: undefined, bytes: 0 } : { result: JSON.parse(json), bytes: json.length };
}

/** A new item with the job and the place of the step it belongs to. */
interface NewItem {
  readonly jobId: string;
  readonly position: number;
  readonly step: Step;
}

/** Writes the items of steps that were reached, in the state they begin in. */
export async function insertItems(db: Db, items: readonly NewItem[]): Promise<void> {
  await db.query({
    name: "insert_items",
    text: `insert into job.step (job_id, name, parent, item_index, position, state, reason, message, attempt, retry, due_time,
                                 start_time, end_time, result)
           select job_id, name, parent, item_index, position, state, reason, message, attempt, retry, due_time, start_time, end_time, result
             from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[], $8::text[], $9::int[],
                         $10::json[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::json[])
               as item (job_id, name, parent, item_index, position, state, reason, message, attempt, retry, due_time, start_time, end_time,
                        result)`,
    values: [
      items.map(({ jobId }) => jobId),
      items.map(({ step }) => step.name),
      items.map(({ step }) => step.parent),
      items.map(({ step }) => step.itemIndex),
      items.map(({ position }) => position),
      items.map(({ step }) => step.state),
      items.map(({ step }) => step.reason),
      items.map(({ step }) => step.message),
      items.map(({ step }) => step.attempt),
      items.map(({ step }) => (step.retry.maxAttempts > 1 ? JSON.stringify(step.retry) : null)),
      // An item may wait by itself, or end at once.
      items.map(({ step }) => step.dueTime),
      items.map(({ step }) => step.startTime),
      items.map(({ step }) => step.endTime),
      items.map(({ step: { result } }) => (result === undefined ? null : JSON.stringify(result))),
    ],
  });
}

/** Keeps how jobs are going to end, once that is decided. */
export async function saveEndings(
  db: Db,
  jobs: readonly { readonly id: string; readonly ending: Ending | null }[],
): Promise<void> {
  await db.query({
    name: "save_endings",
    text: `update job.job j set ending = change.ending
             from unnest($1::uuid[], $2::json[]) as change (id, ending)
            where j.id = change.id`,
    values: [jobs.map(({ id }) => id), jobs.map(({ ending }) => (ending === null ? null : JSON.stringify(ending)))],
  });
}
