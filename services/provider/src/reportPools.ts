/**
 * Worker pools as those who hold the workers see them. One that is not known is registered with its first worker; what tells nothing
 * new is answered without a write, because reports come all the time. A report that is bad is refused alone: a batch must not stall
 * on one pool.
 */
import { invalid } from "@capstan/errors";
import { appendFacts, type Db, inTransaction, type Pool, uuidv7 } from "@capstan/postgres";
import type {
  PoolAnswer,
  PoolReport as ReportMessage,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { isTenant } from "./capacityRequests.ts";
import { repeatLostRaces } from "./lostRace.ts";
import { moveProviders } from "./moveProviders.ts";
import { type Provider, regroup } from "./provider.ts";
import { factOf } from "./providerProto.ts";
import { checkName } from "./providerSpec.ts";
import { findNamed, insertPools, lockProviders } from "./providerStore.ts";
import { checkGroups, inOneForm, type WorkerGroup } from "./workerGroups.ts";

const maxBatch = 1_000;

export interface PoolReport {
  readonly tenant: string;
  readonly name: string;
  readonly groups: readonly WorkerGroup[];
  readonly time: Date;
  /** What is bad about it; "": nothing. */
  readonly refusal: string;
}

/** Refuses only a batch that is too large. */
export function readPoolReports(messages: readonly ReportMessage[]): readonly PoolReport[] {
  if (messages.length > maxBatch) {
    throw invalid([{ field: "pools", description: `has ${messages.length} entries; the limit is ${maxBatch}` }]);
  }
  return messages.map(({ tenant, name, groups, observeTime }) => {
    const violations = [
      ...(isTenant(tenant) ? [] : [{ field: "tenant", description: "is no tenant" }]),
      ...checkName(name),
      ...checkGroups(groups),
      ...(observeTime === undefined ? [{ field: "observe_time", description: "is required" }] : []),
    ];
    const refusal = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
    return { tenant, name, groups: inOneForm(groups), time: observeTime ?? new Date(0), refusal };
  });
}

/** Answers in the order of the reports. Idempotent. */
export async function reportPools(
  pool: Pool,
  reports: readonly PoolReport[],
  traceparent: string | null,
): Promise<readonly PoolAnswer[]> {
  const good = reports.filter(({ refusal }) => refusal === "");
  const there = byName(await findNamed(pool, good));
  const news = good.filter((report) => tellsNews(report, there.get(keyOf(report))));
  const after = news.length === 0 ? there : await repeatLostRaces(() => write(pool, good, news, traceparent));
  return reports.map((report) => answerTo(report, after.get(keyOf(report))));
}

function write(
  pool: Pool,
  reports: readonly PoolReport[],
  news: readonly PoolReport[],
  traceparent: string | null,
): Promise<ReadonlyMap<string, Provider>> {
  return inTransaction(pool, async (db) => {
    await register(db, news, traceparent);
    const named = await findNamed(db, reports);
    const { providers, now } = await lockProviders(
      db,
      named.filter(({ kind }) => kind === "WORKER").map(({ id }) => id),
    );
    const told = Map.groupBy(news, keyOf);
    const moves = providers.map((before) => ({ before, events: eventsOf(before, told.get(keyOf(before)) ?? []) }));
    const moved = await moveProviders(db, moves, { now, traceparent });
    return new Map([...byName(named), ...byName(moved)]);
  });
}

/** Pools that are not there and have a worker: an empty one that an operator has deleted does not come back. */
async function register(db: Db, news: readonly PoolReport[], traceparent: string | null): Promise<void> {
  const latest = new Map<string, PoolReport>();
  for (const report of news) {
    const other = latest.get(keyOf(report));
    if (other === undefined || other.time <= report.time) latest.set(keyOf(report), report);
  }
  const manned = [...latest.values()].filter(({ groups }) => groups.length > 0);
  const created = await insertPools(
    db,
    manned.map((report) => ({ id: uuidv7(), ...report })),
  );
  const facts = created.map((provider) => factOf(provider, { type: "registered" }, provider, traceparent));
  await appendFacts(
    db,
    facts.filter((fact) => fact !== null),
  );
}

/** Only the newest of several reports of one pool counts, and of the same time the last. */
function eventsOf(before: Provider, reports: readonly PoolReport[]) {
  const newest = reports.reduce<PoolReport | null>((last, next) => (last && last.time > next.time ? last : next), null);
  return newest === null ? [] : regroup(before, newest.groups, newest.time);
}

function tellsNews({ groups, time }: PoolReport, there: Provider | undefined): boolean {
  if (there === undefined) return groups.length > 0;
  return there.kind === "WORKER" && regroup(there, groups, time).length > 0;
}

function answerTo({ name, refusal }: PoolReport, there: Provider | undefined): PoolAnswer {
  if (refusal !== "") return { providerId: "", refusal };
  if (there === undefined || there.kind === "WORKER") return { providerId: there?.id ?? "", refusal: "" };
  return { providerId: "", refusal: `${name} is a provider of kind ${there.kind.toLowerCase()}, no worker pool` };
}

function byName(providers: readonly Provider[]): ReadonlyMap<string, Provider> {
  return new Map(providers.map((provider) => [keyOf(provider), provider]));
}

/** Neither has a slash. */
function keyOf({ tenant, name }: { readonly tenant: string; readonly name: string }): string {
  return `${tenant}/${name}`;
}
