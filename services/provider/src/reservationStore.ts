/**
 * The statements of reservations. Each takes many and makes one round trip; the caller owns the transaction and has locked the
 * providers, whose counters it saves in the same transaction.
 */
import type { Db } from "@capstan/postgres";
import { lostRace } from "./lostRace.ts";
import type { Reservation } from "./provider.ts";

interface NewReservation extends Reservation {
  readonly tenant: string;
  readonly providerId: string;
  readonly jobName: string;
  readonly holdMs: number;
  readonly score: number;
  readonly message: string;
}

/**
 * Holds all of them, also those that had expired before; ABORTED if one of the ids was taken meanwhile, by another call or by its own
 * release.
 */
export async function insertReservations(db: Db, reservations: readonly NewReservation[]): Promise<void> {
  const { rowCount } = await db.query({
    name: "insert_reservations",
    text: `insert into provider.reservation (id, tenant, provider_id, job_id, job_name, slots, cpu_millis, memory_mib,
                                             score, message, state, expire_time)
           select id, tenant, provider_id, job_id, job_name, slots, cpu_millis, memory_mib,
                  score, message, 'HELD', clock_timestamp() + hold_ms * interval '1 millisecond'
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::int[], $7::int[], $8::int[],
                         $9::float8[], $10::text[], $11::float8[])
               as r (id, tenant, provider_id, job_id, job_name, slots, cpu_millis, memory_mib, score, message, hold_ms)
            order by id
           on conflict (id) do update
              set provider_id = excluded.provider_id, slots = excluded.slots, cpu_millis = excluded.cpu_millis,
                  memory_mib = excluded.memory_mib, score = excluded.score, message = excluded.message, state = excluded.state,
                  create_time = excluded.create_time, expire_time = excluded.expire_time, end_time = null
            where provider.reservation.state = 'EXPIRED'`,
    values: [
      reservations.map(({ id }) => id),
      reservations.map(({ tenant }) => tenant),
      reservations.map(({ providerId }) => providerId),
      reservations.map(({ jobId }) => jobId),
      reservations.map(({ jobName }) => jobName),
      reservations.map(({ amount }) => amount.slots),
      reservations.map(({ amount }) => amount.cpuMillis),
      reservations.map(({ amount }) => amount.memoryMib),
      reservations.map(({ score }) => score),
      reservations.map(({ message }) => message),
      reservations.map(({ holdMs }) => holdMs),
    ],
  });
  if (rowCount !== reservations.length) throw lostRace();
}

/** A reservation that is there already, live or released, and how it was chosen. */
export interface KnownReservation {
  readonly id: string;
  /** Null when it was released before it was made. */
  readonly providerId: string | null;
  readonly score: number;
  readonly message: string;
}

/** Those that have expired are passed by: nothing was started with them, and they may be made anew. */
export async function findReservations(db: Db, ids: readonly string[]): Promise<readonly KnownReservation[]> {
  const { rows } = await db.query<{ id: string; provider_id: string | null; score: number; message: string }>({
    name: "find_reservations",
    text: `select id, provider_id, score, message from provider.reservation
            where id = any($1::uuid[]) and state <> 'EXPIRED'`,
    values: [ids],
  });
  return rows.map((row) => ({ id: row.id, providerId: row.provider_id, score: row.score, message: row.message }));
}

/** HELD -> CONFIRMED for all that are HELD. Gives back those that have ended; unknown ids are passed over. */
export async function confirmReservations(db: Db, ids: readonly string[]): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "confirm_reservations",
    text: `with known as (
             select id, state from provider.reservation where id = any($1::uuid[]) order by id for update
           ), confirmed as (
             update provider.reservation r
                set state = 'CONFIRMED', expire_time = null
               from known
              where r.id = known.id and known.state = 'HELD'
           )
           select id from known where state in ('RELEASED', 'EXPIRED')`,
    values: [ids],
  });
  return rows.map(({ id }) => id);
}

interface EndedReservation extends Reservation {
  readonly providerId: string;
}

/**
 * Ends those that live; EXPIRED only takes those that are HELD past their time. Gives back what has ended by it. Asks for the state
 * rather than for an absent end time, which would tempt the planner to read the whole index of what lives for a few ids.
 */
export async function endReservations(
  db: Db,
  ids: readonly string[],
  state: "RELEASED" | "EXPIRED",
): Promise<readonly EndedReservation[]> {
  const { rows } = await db.query<{
    id: string;
    provider_id: string;
    job_id: string;
    slots: number;
    cpu_millis: number;
    memory_mib: number;
  }>({
    name: "end_reservations",
    text: `with live as (
             select id
               from provider.reservation
              where id = any($1::uuid[])
                and state in ('HELD', 'CONFIRMED')
                and ($2 = 'RELEASED' or expire_time <= clock_timestamp())
              order by id
                for update
           )
           update provider.reservation r
              set state = $2, expire_time = null, end_time = clock_timestamp()
             from live
            where r.id = live.id
           returning r.id, r.provider_id, r.job_id, r.slots, r.cpu_millis, r.memory_mib`,
    values: [ids, state],
  });
  return rows.map((row) => ({
    id: row.id,
    providerId: row.provider_id,
    jobId: row.job_id,
    amount: { slots: row.slots, cpuMillis: row.cpu_millis, memoryMib: row.memory_mib },
  }));
}

/**
 * Leaves a released mark for each id that is not known, so that its late arrival holds nothing; ABORTED if one just arrives, or has
 * arrived since those that live were ended.
 */
export async function markReleased(db: Db, ids: readonly string[]): Promise<void> {
  const { rows } = await db.query<{ missed: number }>({
    name: "mark_released",
    text: `with unknown as (
             select id
               from unnest($1::uuid[]) as released (id)
              where not exists (select from provider.reservation r where r.id = released.id)
           ), marked as (
             insert into provider.reservation (id, state, end_time)
             select id, 'RELEASED', clock_timestamp() from unknown order by id
             on conflict (id) do nothing
             returning id
           )
           select (select count(*) from unknown) - (select count(*) from marked)
                  + (select count(*) from provider.reservation where id = any($1::uuid[]) and state in ('HELD', 'CONFIRMED')) as missed`,
    values: [ids],
  });
  if (rows[0]?.missed !== 0) throw lostRace();
}

/** Ids of those that are HELD past their time, the longest overdue first. The clock is read once, so that the index can be entered at it. */
export async function findOverdue(db: Db, limit: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "find_overdue_reservations",
    text: `select id
             from provider.reservation
            where expire_time <= (select clock_timestamp())
            order by expire_time
            limit $1`,
    values: [limit],
  });
  return rows.map(({ id }) => id);
}

export async function countLive(db: Db, providerId: string): Promise<{ held: number; confirmed: number }> {
  const { rows } = await db.query<{ held: number; confirmed: number }>(
    `select count(*) filter (where state = 'HELD') as held,
            count(*) filter (where state = 'CONFIRMED') as confirmed
       from provider.reservation
      where provider_id = $1 and end_time is null`,
    [providerId],
  );
  return rows[0] ?? { held: 0, confirmed: 0 };
}

/**
 * Ids of those that hold capacity and were made `minAgeMs` ago, in their order, after `afterId`. What lives is read first: the order of
 * all ids leads through whatever has ended.
 */
export async function listLive(db: Db, minAgeMs: number, afterId: string, limit: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "list_live_reservations",
    text: `with live as materialized (
             select id from provider.reservation
              where end_time is null and create_time < clock_timestamp() - $1 * interval '1 millisecond'
           )
           select id from live where id > $2::uuid order by id limit $3`,
    values: [minAgeMs, afterId, limit],
  });
  return rows.map(({ id }) => id);
}

/** Live reservations by job name and provider. */
export async function countByJobName(
  db: Db,
  providerIds: readonly string[],
  jobNames: readonly string[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, number>>> {
  const { rows } = await db.query<{ job_name: string; provider_id: string; count: number }>({
    name: "count_by_job_name",
    text: `select job_name, provider_id, count(*) as count
             from provider.reservation
            where provider_id = any($1::uuid[]) and job_name = any($2::text[]) and end_time is null
            group by job_name, provider_id`,
    values: [providerIds, jobNames],
  });
  const byName = Map.groupBy(rows, (row) => row.job_name);
  return new Map([...byName].map(([name, of]) => [name, new Map(of.map((row) => [row.provider_id, row.count]))]));
}

/** Removes up to `limit` that ended longer ago than this; gives back how many. */
export async function deleteEnded(db: Db, keptMs: number, limit: number): Promise<number> {
  const { rowCount } = await db.query({
    name: "delete_ended_reservations",
    text: `delete from provider.reservation
            where id in (select id
                           from provider.reservation
                          where end_time < (select clock_timestamp()) - $1 * interval '1 millisecond'
                          order by end_time
                          limit $2
                            for update skip locked)`,
    values: [keptMs, limit],
  });
  return rowCount ?? 0;
}
