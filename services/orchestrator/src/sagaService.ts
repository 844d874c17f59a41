/** The RPCs for operators: look at sagas, move parked ones, handle dead letters again. */
import { DomainError, invalid, notFound } from "@capstan/errors";
import { type Call, decodePageToken, encodePageToken, pageSize, parseFilter, unary } from "@capstan/grpc";
import { listDeadLetters, type ReceivedFact, replayDeadLetters } from "@capstan/messaging";
import type { SagaServiceServer } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { driveSagas, type SagaDeps } from "./driveSagas.ts";
import type { Placing } from "./placeSagas.ts";
import type { Happened } from "./runJob.ts";
import { toMessage } from "./sagaProto.ts";
import { filterFields, getSaga, listSagas, type SagaView } from "./sagaQueries.ts";
import { loadSagas } from "./sagaStore.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export interface SagaServiceOptions extends SagaDeps {
  readonly handleFacts: (facts: readonly ReceivedFact[]) => Promise<void>;
  /** Told of sagas that may be WAITING again. */
  readonly placing: Pick<Placing, "waiting">;
}

export function createSagaService(options: SagaServiceOptions): SagaServiceServer {
  const { pool } = options;

  async function readSaga(id: string, { tenant }: Call): Promise<SagaView> {
    if (id === "") throw invalid([{ field: "saga_id", description: "is required" }]);
    const saga = uuid.test(id) ? await getSaga(pool, tenant, id) : null;
    if (saga === null) throw notFound("saga", id.slice(0, 64));
    return saga;
  }

  async function moveParked(id: string, call: Call, happened: Happened) {
    const { stage } = await readSaga(id, call);
    const saga = (await loadSagas(pool, [id])).get(id.toLowerCase());
    if (saga === undefined || saga.stage !== "PARKED") {
      throw new DomainError({
        code: "FAILED_PRECONDITION",
        reason: "SAGA_IS_NOT_PARKED",
        message: `saga ${id} is ${stage}; only a PARKED saga needs an operator`,
        metadata: { sagaId: id, stage },
      });
    }
    await driveSagas(options, [{ saga, happened: [happened] }]);
    options.placing.waiting([saga]);
    return { saga: toMessage(await readSaga(id, call)) };
  }

  return {
    getSaga: unary(async ({ sagaId }, call) => ({ saga: toMessage(await readSaga(sagaId, call)) })),

    listSagas: unary(async ({ filter, pageToken, ...request }, { tenant }) => {
      const query = { list: "sagas", tenant, filter };
      const limit = pageSize(request.pageSize);
      const sagas = await listSagas(pool, {
        tenant,
        filter: filter === "" ? null : parseFilter(filter, filterFields),
        cursor: decodePageToken(pageToken, query),
        limit: limit + 1,
      });
      const page = sagas.slice(0, limit);
      const last = sagas.length > limit ? page.at(-1) : undefined;
      return {
        sagas: page.map(toMessage),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.createTimeText, last.id]),
      };
    }),

    retrySaga: unary(({ sagaId }, call) => moveParked(sagaId, call, { type: "retried" })),
    skipSaga: unary(({ sagaId }, call) => moveParked(sagaId, call, { type: "skipped" })),
    compensateSaga: unary(({ sagaId }, call) => moveParked(sagaId, call, { type: "compensated" })),

    listDeadLetters: unary(async (request) => {
      const query = { list: "dead letters" };
      const limit = pageSize(request.pageSize);
      const letters = await listDeadLetters(pool, limit + 1, decodePageToken(request.pageToken, query));
      const page = letters.slice(0, limit);
      const last = letters.length > limit ? page.at(-1) : undefined;
      return {
        deadLetters: page.map(({ id, stream, streamSequence, subject, error, createTime }) => ({
          ...{ id, stream, streamSequence, subject, error, createTime },
        })),
        nextPageToken: last === undefined ? "" : encodePageToken(query, last.cursor),
      };
    }),

    replayDeadLetters: unary(async ({ deadLetterIds }) => {
      if (deadLetterIds.length < 1 || deadLetterIds.length > 1_000) {
        throw invalid([{ field: "dead_letter_ids", description: "must have 1 to 1,000 ids" }]);
      }
      const bad = deadLetterIds.flatMap((id, index) =>
        uuid.test(id) ? [] : [{ field: `dead_letter_ids[${index}]`, description: "is not an id" }],
      );
      if (bad.length > 0) throw invalid(bad);
      return { resolvedIds: [...(await replayDeadLetters(pool, deadLetterIds, options.handleFacts))] };
    }),
  };
}
