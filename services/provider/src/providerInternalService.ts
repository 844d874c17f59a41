/** The RPCs of the orchestrator and the runners: check the batch, hand it on, answer. */
import { invalid } from "@capstan/errors";
import { decodePageToken, encodePageToken, unary } from "@capstan/grpc";
import type { Pool } from "@capstan/postgres";
import type { ProviderInternalServiceServer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { Capacity } from "./capacity.ts";
import { durationMs, readCapacityRequests, readIds } from "./capacityRequests.ts";
import { noteHealth } from "./health.ts";
import { kindFromMessage, toProbeTarget } from "./providerProto.ts";
import { withoutControlCharacters } from "./providerSpec.ts";
import { listProbeTargets } from "./providerStore.ts";
import { readPoolReports, reportPools } from "./reportPools.ts";
import { confirmReservations, listLive } from "./reservationStore.ts";

const maxHealthMessageLength = 512;
/** Live reservations in one answer. */
const maxLive = 10_000;
/** Comes before every id. */
const firstId = "00000000-0000-0000-0000-000000000000";

interface ProviderInternalServiceOptions {
  readonly pool: Pool;
  readonly capacity: Capacity;
  /** Failed probes in a row that make a provider UNHEALTHY. */
  readonly failureThreshold: number;
}

export function createProviderInternalService(options: ProviderInternalServiceOptions): ProviderInternalServiceServer {
  const { pool, capacity, failureThreshold } = options;
  return {
    reserveCapacity: unary(async ({ requests, validateOnly }, { traceparent }) => {
      const wanted = readCapacityRequests(requests);
      return { answers: await (validateOnly ? capacity.preview(wanted) : capacity.reserve(wanted, traceparent)) };
    }),

    confirmReservations: unary(async ({ reservationIds }) => {
      const ids = readIds("reservation_ids", reservationIds);
      return { expiredIds: ids.length === 0 ? [] : [...(await confirmReservations(pool, ids))] };
    }),

    releaseReservations: unary(async ({ reservationIds }, { traceparent }) => ({
      released: await capacity.release(readIds("reservation_ids", reservationIds), traceparent),
    })),

    listLiveReservations: unary(async ({ minAge, pageToken }) => {
      const query = { list: "live reservations" };
      const [after = firstId] = decodePageToken(pageToken, query) ?? [];
      const reservationIds = [...(await listLive(pool, durationMs(minAge), after, maxLive))];
      const last = reservationIds.length === maxLive ? reservationIds.at(-1) : undefined;
      return { reservationIds, nextPageToken: last === undefined ? "" : encodePageToken(query, [last]) };
    }),

    listProbeTargets: unary(async ({ kinds }) => {
      const known = kinds.map((kind, index) => {
        const word = kindFromMessage(kind);
        if (word === null) throw invalid([{ field: `kinds[${index}]`, description: "is not a kind of provider" }]);
        return word;
      });
      // A worker pool is not probed: its workers' leases tell of it.
      const probed = known.filter((kind) => kind !== "WORKER");
      return { targets: (await listProbeTargets(pool, probed)).map(toProbeTarget) };
    }),

    reportHealth: unary(async ({ observations }, { traceparent }) => {
      const ids = readIds(
        "observations",
        observations.map(({ providerId }) => providerId),
      );
      const seen = observations.map(({ isGood, message }, index) => ({
        providerId: ids[index] ?? "",
        isGood,
        // An engine's words are not ours to trust: one line, bounded.
        message: withoutControlCharacters(message).slice(0, maxHealthMessageLength),
      }));
      if (seen.length > 0) await noteHealth(pool, seen, failureThreshold, traceparent);
      return {};
    }),

    reportPools: unary(async ({ pools }, { traceparent }) => ({
      answers: [...(await reportPools(pool, readPoolReports(pools), traceparent))],
    })),
  };
}
