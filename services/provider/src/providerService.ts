/** The RPCs of users and operators. Each one reads: check the request, lock, decide, save, answer. */
import { DomainError, invalid, notFound } from "@capstan/errors";
import {
  type Call,
  decodePageToken,
  encodePageToken,
  type FilterFields,
  filterToSql,
  pageSize,
  parseFilter,
  unary,
} from "@capstan/grpc";
import { appendFacts, inTransaction, type Pool, uuidv7 } from "@capstan/postgres";
import type { ProviderServiceServer } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { moveProviders } from "./moveProviders.ts";
import {
  activate,
  cordon,
  deactivate,
  drain,
  forget,
  isSame,
  type Provider,
  type ProviderEvent,
  providerHealths,
  providerStates,
  uncordon,
  update,
} from "./provider.ts";
import { factOf, kindFromMessage, toCapacity, toMessage } from "./providerProto.ts";
import {
  checkChange,
  checkRegistration,
  isName,
  isUuid,
  type ProviderSpec,
  providerKinds,
  type SpecChange,
} from "./providerSpec.ts";
import { findProvider, insertProvider, listProviders, lockProvider, type ProviderReference } from "./providerStore.ts";
import { countLive } from "./reservationStore.ts";

const filterFields: FilterFields = {
  name: { type: "string" },
  kind: { type: "enum", values: providerKinds },
  state: { type: "enum", values: providerStates },
  health: { type: "enum", values: providerHealths },
  labels: { type: "labels" },
};
const filterColumns = { name: "name", kind: "kind", state: "state", health: "health", labels: "labels" };

const changeable = ["capacity", "labels", "endpoint"];

interface ProviderServiceOptions {
  readonly pool: Pool;
}

export function createProviderService({ pool }: ProviderServiceOptions): ProviderServiceServer {
  /** One provider, locked, moved by what is decided about it. */
  async function move(named: string, call: Call, decide: (provider: Provider) => readonly ProviderEvent[]) {
    const reference = referenceTo(named);
    const [after = missing(named)] = await inTransaction(pool, async (db) => {
      const { providers, now } = await lockProvider(db, call.tenant, reference);
      const moves = providers.map((before) => ({ before, events: decide(before) }));
      return moveProviders(db, moves, { now, traceparent: call.traceparent });
    });
    return { provider: toMessage(after) };
  }

  async function find(named: string, { tenant }: Call): Promise<Provider> {
    return (await findProvider(pool, tenant, referenceTo(named))) ?? missing(named);
  }

  async function register(name: string, spec: ProviderSpec, { tenant, traceparent }: Call) {
    return inTransaction(pool, async (db) => {
      const created = await insertProvider(db, uuidv7(), tenant, name, spec);
      if (created === null) {
        const there = await findProvider(db, tenant, { name });
        if (there === null || !isSame(there, spec)) throw alreadyExists(name);
        return { provider: toMessage(there), existed: true };
      }
      const fact = factOf(created, { type: "registered" }, created, traceparent);
      if (fact !== null) await appendFacts(db, [fact]);
      return { provider: toMessage(created), existed: false };
    });
  }

  return {
    registerProvider: unary(async ({ name, kind: kindMessage, capacity, labels, endpoint }, call) => {
      const kind = kindFromMessage(kindMessage);
      const violations = checkRegistration(name, { kind, capacity, labels, endpoint });
      if (violations.length > 0 || kind === null || capacity === undefined) throw invalid(violations);
      return register(name, { kind, capacity, labels, endpoint }, call);
    }),

    getProvider: unary(async ({ provider }, call) => ({ provider: toMessage(await find(provider, call)) })),

    listProviders: unary(async ({ pageSize: requested, pageToken, filter: text }, { tenant }) => {
      const limit = pageSize(requested);
      const query = { tenant, filter: text };
      const [afterName = ""] = decodePageToken(pageToken, query) ?? [];
      const filter = parseFilter(text, filterFields);
      const found = await listProviders(pool, { tenant, afterName, limit: limit + 1 }, (values) =>
        filterToSql(filter, filterColumns, values),
      );
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return {
        providers: page.map(toMessage),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.name]),
      };
    }),

    updateProvider: unary(async ({ provider, updateMask, etag, capacity, labels, endpoint }, call) => {
      const paths = checkMask(updateMask ?? []);
      const change: SpecChange = {
        ...(paths.has("capacity") ? { capacity: capacity ?? { slots: 0, cpuMillis: 0, memoryMib: 0 } } : {}),
        ...(paths.has("labels") ? { labels } : {}),
        ...(paths.has("endpoint") ? { endpoint } : {}),
      };
      return move(provider, call, (before) => {
        const violations = checkChange(change, before.kind);
        if (violations.length > 0) throw invalid(violations);
        return update(before, change, etag);
      });
    }),

    deleteProvider: unary(async ({ provider }, call) => {
      await move(provider, call, forget);
      return {};
    }),

    activateProvider: unary(({ provider }, call) => move(provider, call, activate)),
    deactivateProvider: unary(({ provider }, call) => move(provider, call, deactivate)),
    cordonProvider: unary(({ provider }, call) => move(provider, call, cordon)),
    uncordonProvider: unary(({ provider }, call) => move(provider, call, uncordon)),
    drainProvider: unary(({ provider }, call) => move(provider, call, drain)),

    getProviderStats: unary(async ({ provider: named }, call) => {
      const provider = await find(named, call);
      const { held, confirmed } = await countLive(pool, provider.id);
      return {
        capacity: toCapacity(provider.capacity),
        reserved: toCapacity(provider.reserved),
        held,
        confirmed,
        total: provider.made,
        expired: provider.expired,
      };
    }),
  };
}

/** By id or by name; what can be neither is not looked for, so that no bad text reaches the database. */
function referenceTo(named: string): ProviderReference {
  if (named === "") throw invalid([{ field: "provider", description: "is required: an id or a name" }]);
  if (isUuid(named.toLowerCase())) return { id: named };
  return isName(named) ? { name: named } : missing(named);
}

function missing(named: string): never {
  throw notFound("provider", named.slice(0, 64));
}

function checkMask(paths: readonly string[]): ReadonlySet<string> {
  const unknown = paths.filter((path) => !changeable.includes(path));
  if (paths.length > 0 && unknown.length === 0) return new Set(paths);
  throw invalid([{ field: "update_mask", description: `must name one or more of ${changeable.join(", ")}` }]);
}

function alreadyExists(name: string): DomainError {
  return new DomainError({
    code: "ALREADY_EXISTS",
    reason: "PROVIDER_EXISTS",
    message: `provider ${name} is registered with another kind, capacity, labels or endpoint`,
    resource: { type: "provider", name },
  });
}
