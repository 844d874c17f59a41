/** The statements of the timers of waiting sagas, of queues that want something done about those that wait. */
import type { Db } from "@capstan/postgres";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { StepSpec as StepSpecMessage } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { QueueKey } from "./waitingStore.ts";

/** Looks at sagas so many milliseconds after their steps became READY. */
export async function insertTimers(
  db: Db,
  timers: readonly { readonly id: string; readonly readyTime: Date; readonly afterMs: number }[],
): Promise<void> {
  await db.query({
    name: "insert_timers",
    text: `insert into orchestrator.wait_timer (saga_id, due_time)
           select id, ready_time + after_ms * interval '1 millisecond'
             from unnest($1::uuid[], $2::timestamptz[], $3::float8[]) as t (id, ready_time, after_ms)
           on conflict do nothing`,
    values: [
      timers.map(({ id }) => id),
      timers.map(({ readyTime }) => readyTime),
      timers.map(({ afterMs }) => afterMs),
    ],
  });
}

/** The same for all that wait in queues whose rules have changed; those that have a timer are looked at anew. */
export async function insertTimersOfQueues(
  db: Db,
  queues: readonly (QueueKey & { readonly afterMs: number })[],
): Promise<void> {
  await db.query({
    text: `insert into orchestrator.wait_timer (saga_id, due_time)
           select s.id, s.ready_time + k.after_ms * interval '1 millisecond'
             from unnest($1::text[], $2::text[], $3::float8[]) as k (tenant, queue, after_ms)
             join orchestrator.saga s on s.stage = 'WAITING' and s.tenant = k.tenant and s.queue = k.queue
           on conflict (saga_id) do update set due_time = least(wait_timer.due_time, excluded.due_time)`,
    values: [
      queues.map(({ tenant }) => tenant),
      queues.map(({ queue }) => queue),
      queues.map(({ afterMs }) => afterMs),
    ],
  });
}

export interface DueTimer {
  readonly sagaId: string;
  readonly done: readonly string[];
}

/** Timers that are due, oldest first. Nobody else sees them for a while: if their claimer dies, they are due again then. */
export async function claimTimers(db: Db, limit: number): Promise<readonly DueTimer[]> {
  const { rows } = await db.query<DueTimer>({
    name: "claim_timers",
    text: `update orchestrator.wait_timer t
              set due_time = clock_timestamp() + interval '12 seconds'
             from (select saga_id
                     from orchestrator.wait_timer
                    where due_time <= (select clock_timestamp())
                    order by due_time
                    limit $1
                      for update skip locked) due
            where t.saga_id = due.saga_id
           returning t.saga_id as "sagaId", t.done`,
    values: [limit],
  });
  return rows;
}

/** When timers are due next, with the rules that were followed; null: never again. */
export async function setTimers(
  db: Db,
  timers: readonly (DueTimer & { readonly nextMs: number | null })[],
): Promise<void> {
  const over = timers.filter(({ nextMs }) => nextMs === null);
  const text = "delete from orchestrator.wait_timer where saga_id = any($1::uuid[])";
  if (over.length > 0) await db.query({ name: "delete_timers", text, values: [over.map(({ sagaId }) => sagaId)] });
  const next = timers.filter(({ nextMs }) => nextMs !== null);
  if (next.length === 0) return;
  await db.query({
    name: "set_timers",
    text: `update orchestrator.wait_timer t
              set due_time = clock_timestamp() + n.next_ms * interval '1 millisecond',
                  done = array(select json_array_elements_text(n.done))
             from unnest($1::uuid[], $2::float8[], $3::json[]) as n (saga_id, next_ms, done)
            where t.saga_id = n.saga_id`,
    values: [
      next.map(({ sagaId }) => sagaId),
      next.map(({ nextMs }) => nextMs),
      next.map(({ done }) => JSON.stringify(done)),
    ],
  });
}

/** Has another kind of place asked for waiting sagas that nobody has moved meanwhile; gives back the ids of those. */
export async function moveWaiting(
  db: Db,
  sagas: readonly {
    readonly id: string;
    readonly version: number;
    readonly spec: StepSpec;
    readonly placementKey: string;
  }[],
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ id: string }>({
    name: "move_waiting",
    text: `update orchestrator.saga s
              set spec = change.spec, placement_key = change.placement_key, reason = 'QUEUED', message = '', version = s.version + 1,
                  wakeup_time = clock_timestamp(), reason_time = clock_timestamp()
             from unnest($1::uuid[], $2::int[], $3::json[], $4::text[]) as change (id, version, spec, placement_key)
            where s.id = change.id and s.version = change.version and s.stage = 'WAITING' and s.claim_until <= clock_timestamp()
           returning s.id`,
    values: [
      sagas.map(({ id }) => id),
      sagas.map(({ version }) => version),
      sagas.map(({ spec }) => JSON.stringify(StepSpecMessage.toJSON(spec))),
      sagas.map(({ placementKey }) => placementKey),
    ],
  });
  return new Set(rows.map(({ id }) => id));
}
