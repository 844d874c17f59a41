/**
 * The statements of providers. A lock on a provider's row is a lock on its capacity: whoever changes reservations takes the
 * locks of their providers first, in the order of ids, so that two of them never wait for each other.
 */
import { DomainError } from "@capstan/errors";
import type { Labels } from "@capstan/labels";
import type { Db } from "@capstan/postgres";
import type { Provider, ProviderHealth, ProviderState } from "./provider.ts";
import type { ProviderKind, ProviderSpec } from "./providerSpec.ts";
import { sayWorkers, slotsOf, type WorkerGroup } from "./workerGroups.ts";

interface ProviderRow {
  now: Date;
  id: string;
  tenant: string;
  name: string;
  kind: ProviderKind;
  state: ProviderState;
  health: ProviderHealth;
  health_message: string;
  health_failures: number;
  health_time: Date | null;
  slots: number;
  cpu_millis: number;
  memory_mib: number;
  used_slots: number;
  used_cpu_millis: number;
  used_memory_mib: number;
  live_reservations: number;
  made_reservations: number;
  expired_reservations: number;
  last_chosen: number;
  labels: Labels;
  endpoint: string;
  worker_groups: WorkerGroup[];
  pool_time: Date | null;
  version: number;
  sequence: number;
  create_time: Date;
  update_time: Date;
}

const select = "select *, clock_timestamp() as now from provider.provider";

function toProvider(row: ProviderRow): Provider {
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    kind: row.kind,
    state: row.state,
    health: row.health,
    healthMessage: row.health_message,
    healthFailures: row.health_failures,
    healthTime: row.health_time,
    capacity: { slots: row.slots, cpuMillis: row.cpu_millis, memoryMib: row.memory_mib },
    reserved: { slots: row.used_slots, cpuMillis: row.used_cpu_millis, memoryMib: row.used_memory_mib },
    live: row.live_reservations,
    made: row.made_reservations,
    expired: row.expired_reservations,
    lastChosen: row.last_chosen,
    labels: row.labels,
    endpoint: row.endpoint,
    workerGroups: row.worker_groups,
    poolTime: row.pool_time,
    version: row.version,
    sequence: row.sequence,
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}

/** Providers that no other transaction can change until this one ends. */
interface LockedProviders {
  readonly providers: readonly Provider[];
  /** The database's clock, by which what happens to them is dated; 1970 if there are none. */
  readonly now: Date;
}

async function queryProviders(db: Db, name: string, text: string, values: unknown[]): Promise<LockedProviders> {
  const { rows } = await db.query<ProviderRow>({ name, text, values });
  return { providers: rows.map(toProvider), now: rows[0]?.now ?? new Date(0) };
}

/** Null when the tenant has a provider of that name. */
export async function insertProvider(
  db: Db,
  id: string,
  tenant: string,
  name: string,
  { kind, capacity, labels, endpoint }: ProviderSpec,
): Promise<Provider | null> {
  const { rows } = await db.query<ProviderRow>(
    `insert into provider.provider (id, tenant, name, kind, slots, cpu_millis, memory_mib, labels, endpoint)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict (tenant, name) do nothing
     returning *`,
    [id, tenant, name, kind, capacity.slots, capacity.cpuMillis, capacity.memoryMib, JSON.stringify(labels), endpoint],
  );
  return rows[0] === undefined ? null : toProvider(rows[0]);
}

/** A worker pool that has workers. */
interface NewPool {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly groups: readonly WorkerGroup[];
  readonly time: Date;
}

/**
 * Gives back those that were made: where the tenant has a provider of that name nothing is. In the order of names, so that two of
 * these never wait for each other.
 */
export async function insertPools(db: Db, pools: readonly NewPool[]): Promise<readonly Provider[]> {
  if (pools.length === 0) return [];
  const { rows } = await db.query<ProviderRow>(
    `insert into provider.provider (id, tenant, name, kind, slots, cpu_millis, memory_mib, worker_groups, pool_time,
                                    health, health_message, health_time)
     select id, tenant, name, 'WORKER', slots, 0, 0, worker_groups, pool_time, 'HEALTHY', message, clock_timestamp()
       from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::jsonb[], $6::timestamptz[], $7::text[])
         as c (id, tenant, name, slots, worker_groups, pool_time, message)
      order by tenant, name
     on conflict (tenant, name) do nothing
     returning *`,
    [
      pools.map(({ id }) => id),
      pools.map(({ tenant }) => tenant),
      pools.map(({ name }) => name),
      pools.map(({ groups }) => slotsOf(groups)),
      pools.map(({ groups }) => JSON.stringify(groups)),
      pools.map(({ time }) => time),
      pools.map(({ groups }) => sayWorkers(groups)),
    ],
  );
  return rows.map(toProvider);
}

/** What a caller names a provider by: exactly one is given. */
export type ProviderReference = { readonly id: string } | { readonly name: string };

/** Null when the tenant has none such. */
export async function findProvider(db: Db, tenant: string, reference: ProviderReference): Promise<Provider | null> {
  const { providers } = await selectProvider(db, tenant, reference, "");
  return providers[0] ?? null;
}

/** The one named, or none when the tenant has none such. */
export function lockProvider(db: Db, tenant: string, reference: ProviderReference): Promise<LockedProviders> {
  return selectProvider(db, tenant, reference, "for update");
}

function selectProvider(db: Db, tenant: string, reference: ProviderReference, lock: "" | "for update") {
  const [column, value] = "id" in reference ? ["id", reference.id] : ["name", reference.name];
  const text = `${select} where tenant = $1 and ${column} = $2 ${lock}`;
  return queryProviders(db, `provider_by_${column}${lock === "" ? "" : "_locked"}`, text, [tenant, value]);
}

/** Unknown ids are left out. */
export async function findProviders(db: Db, ids: readonly string[]): Promise<readonly Provider[]> {
  const { providers } = await queryProviders(db, "find_providers", `${select} where id = any($1::uuid[])`, [ids]);
  return providers;
}

/** Those that are there, of any kind. */
export async function findNamed(
  db: Db,
  names: readonly { readonly tenant: string; readonly name: string }[],
): Promise<readonly Provider[]> {
  const text = `${select} where (tenant, name) in (select * from unnest($1::text[], $2::text[]))`;
  const values = [names.map(({ tenant }) => tenant), names.map(({ name }) => name)];
  return (await queryProviders(db, "find_named", text, values)).providers;
}

/** Unknown ids are left out. */
export function lockProviders(db: Db, ids: readonly string[]): Promise<LockedProviders> {
  const text = `${select} where id = any($1::uuid[]) order by id for update`;
  return queryProviders(db, "lock_providers", text, [ids]);
}

/** Every provider of these tenants. */
export function lockTenantProviders(db: Db, tenants: readonly string[]): Promise<LockedProviders> {
  const text = `${select} where tenant = any($1::text[]) order by id for update`;
  return queryProviders(db, "lock_tenant_providers", text, [tenants]);
}

/** The providers on which any of these reservations lives. */
export function lockProvidersOf(db: Db, reservationIds: readonly string[]): Promise<LockedProviders> {
  const text = `${select}
                 where id in (select provider_id
                                from provider.reservation
                               where id = any($1::uuid[]) and state in ('HELD', 'CONFIRMED'))
                 order by id
                   for update`;
  return queryProviders(db, "lock_providers_of", text, [reservationIds]);
}

/** Providers by name, after `afterName`. `where` is SQL made by `filterToSql`, with its parameters from $4 on. */
export function listProviders(
  db: Db,
  { tenant, afterName, limit }: { readonly tenant: string; readonly afterName: string; readonly limit: number },
  where: (values: unknown[]) => string,
): Promise<readonly Provider[]> {
  const values: unknown[] = [tenant, afterName, limit];
  return db
    .query<ProviderRow>(
      `select *
         from provider.provider
        where tenant = $1 and name > $2 and (${where(values)})
        order by name
        limit $3`,
      values,
    )
    .then(({ rows }) => rows.map(toProvider));
}

/** All that are not DISABLED, of these kinds, of every tenant. */
export async function listProbeTargets(db: Db, kinds: readonly ProviderKind[]): Promise<readonly Provider[]> {
  const text = `${select} where kind = any($1::text[]) and state <> 'DISABLED' order by id`;
  return (await queryProviders(db, "list_probe_targets", text, [kinds])).providers;
}

/** A provider as it was read, and as it shall be. */
export interface Saved {
  readonly before: Provider;
  readonly after: Provider;
}

/** Saves providers that are still as they were read; ABORTED if one is not. */
export async function saveProviders(db: Db, saved: readonly Saved[]): Promise<void> {
  const after = saved.map((move) => move.after);
  const { rowCount } = await db.query({
    name: "save_providers",
    text: `update provider.provider p
              set state = c.state,
                  health = c.health,
                  health_message = c.health_message,
                  health_failures = c.health_failures,
                  health_time = c.health_time,
                  slots = c.slots,
                  cpu_millis = c.cpu_millis,
                  memory_mib = c.memory_mib,
                  used_slots = c.used_slots,
                  used_cpu_millis = c.used_cpu_millis,
                  used_memory_mib = c.used_memory_mib,
                  live_reservations = c.live_reservations,
                  made_reservations = c.made_reservations,
                  expired_reservations = c.expired_reservations,
                  last_chosen = c.last_chosen,
                  labels = c.labels,
                  endpoint = c.endpoint,
                  worker_groups = coalesce(c.worker_groups, p.worker_groups),
                  pool_time = c.pool_time,
                  version = c.version,
                  sequence = c.sequence,
                  update_time = c.update_time
             from unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[], $8::int[],
                         $9::int[], $10::int[], $11::int[], $12::int[], $13::bigint[], $14::bigint[], $15::int[],
                         $16::bigint[], $17::bigint[], $18::bigint[], $19::jsonb[], $20::text[], $21::int[], $22::int[],
                         $23::timestamptz[], $24::timestamptz[], $25::jsonb[], $26::timestamptz[])
               as c (id, old_state, old_version, old_sequence, state, health, health_message, health_failures,
                     slots, cpu_millis, memory_mib, used_slots, used_cpu_millis, used_memory_mib, live_reservations,
                     made_reservations, expired_reservations, last_chosen, labels, endpoint, version, sequence, health_time, update_time,
                     worker_groups, pool_time)
            where p.id = c.id
              and p.state = c.old_state
              and p.version = c.old_version
              and p.sequence = c.old_sequence`,
    values: [
      after.map(({ id }) => id),
      saved.map(({ before }) => before.state),
      saved.map(({ before }) => before.version),
      saved.map(({ before }) => before.sequence),
      after.map(({ state }) => state),
      after.map(({ health }) => health),
      after.map(({ healthMessage }) => healthMessage),
      after.map(({ healthFailures }) => healthFailures),
      after.map(({ capacity }) => capacity.slots),
      after.map(({ capacity }) => capacity.cpuMillis),
      after.map(({ capacity }) => capacity.memoryMib),
      after.map(({ reserved }) => reserved.slots),
      after.map(({ reserved }) => reserved.cpuMillis),
      after.map(({ reserved }) => reserved.memoryMib),
      after.map(({ live }) => live),
      after.map(({ made }) => made),
      after.map(({ expired }) => expired),
      after.map(({ lastChosen }) => lastChosen),
      after.map(({ labels }) => JSON.stringify(labels)),
      after.map(({ endpoint }) => endpoint),
      after.map(({ version }) => version),
      after.map(({ sequence }) => sequence),
      after.map(({ healthTime }) => healthTime),
      after.map(({ updateTime }) => updateTime),
      // Every reservation saves its provider, and the groups of a pool may be large.
      saved.map(({ before, after: { workerGroups } }) =>
        workerGroups === before.workerGroups ? null : JSON.stringify(workerGroups),
      ),
      after.map(({ poolTime }) => poolTime),
    ],
  });
  if (rowCount !== saved.length) throw changed(after.map(({ name }) => name).join(", "));
}

/** Only while nothing lives on it; ABORTED otherwise. */
export async function deleteProvider(db: Db, { id, name }: Provider): Promise<void> {
  const { rowCount } = await db.query("delete from provider.provider where id = $1 and live_reservations = 0", [id]);
  if (rowCount !== 1) throw changed(name);
}

function changed(name: string): DomainError {
  return new DomainError({
    code: "ABORTED",
    reason: "PROVIDER_CHANGED",
    message: `provider ${name} has changed since it was read`,
  });
}
