/** The RPCs for operators: look at sagas, move parked ones, handle dead letters again. */

import { DomainError, type FieldViolation, invalid, notFound } from "@capstan/errors";
import { type Call, decodePageToken, encodePageToken, fitPage, pageSize, parseFilter, unary } from "@capstan/grpc";
import { listDeadLetters, type ReceivedFact, replayDeadLetters } from "@capstan/messaging";
import { isUuid } from "@capstan/postgres";
import type { SagaCounts, SagaServiceServer } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { driveSagas, type SagaDeps } from "./driveSagas.ts";
import type { Placing } from "./placeSagas.ts";
import { canBeForced, type Stage, type Verb } from "./runJob.ts";
import { factMessage, toMessage } from "./sagaProto.ts";
import { countLiveSagas, filterFields, getSaga, listSagaFacts, listSagas, type SagaView } from "./sagaQueries.ts";
import { loadSagas } from "./sagaStore.ts";

/** What the RPCs of operators take. */
interface OperatorRequest {
  readonly sagaId: string;
  readonly actor: string;
  readonly note: string;
}

interface Move {
  readonly verb: Verb;
  readonly happened: "retried" | "skipped" | "compensated" | "forced";
}

const maxCounted = 100_000;
const maxActorLength = 128;
const maxNoteLength = 500;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controlCharacter = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** They end in a fact, and on terminals. */
function badFields(texts: Pick<OperatorRequest, "actor" | "note">, isRequired: boolean): readonly FieldViolation[] {
  const limits = { actor: maxActorLength, note: maxNoteLength };
  return (["actor", "note"] as const).flatMap((field) => {
    const text = texts[field];
    const bad = [
      ...(isRequired && text === "" ? ["is required"] : []),
      ...(text.length > limits[field] ? [`is ${text.length} characters; the limit is ${limits[field]}`] : []),
      ...(controlCharacter.test(text) ? ["must not contain control characters"] : []),
      ...(text.isWellFormed() ? [] : ["must be well-formed Unicode"]),
    ];
    return bad.map((description) => ({ field, description }));
  });
}

function toCounts(counts: Awaited<ReturnType<typeof countLiveSagas>>): SagaCounts {
  const of = (stage: Stage) => counts.find((each) => each.stage === stage)?.count ?? 0;
  return {
    waiting: of("WAITING"),
    reserved: of("RESERVED"),
    started: of("STARTED"),
    settling: of("SETTLING"),
    compensating: of("COMPENSATING"),
    parked: of("PARKED"),
  };
}

function wrongStage(sagaId: string, stage: Stage, verb: Verb): DomainError {
  const may =
    verb === "forced" ? "RESERVED, STARTED, COMPENSATING or PARKED can be forced" : "PARKED needs an operator";
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason: verb === "forced" ? "SAGA_CANNOT_BE_FORCED" : "SAGA_IS_NOT_PARKED",
    message: `saga ${sagaId} is ${stage}; only one that is ${may}`,
    metadata: { sagaId, stage },
  });
}

interface SagaServiceOptions extends SagaDeps {
  readonly handleFacts: (facts: readonly ReceivedFact[]) => Promise<void>;
  /** Told of sagas that may be WAITING again. */
  readonly placing: Pick<Placing, "waiting">;
}

export function createSagaService(options: SagaServiceOptions): SagaServiceServer {
  const { pool } = options;

  async function readSaga(id: string, { tenant }: Call): Promise<SagaView> {
    if (id === "") throw invalid([{ field: "saga_id", description: "is required" }]);
    const saga = isUuid(id) ? await getSaga(pool, tenant, id) : null;
    if (saga === null) throw notFound("saga", id.slice(0, 64));
    return saga;
  }

  async function move({ sagaId: id, actor, note }: OperatorRequest, call: Call, { verb, happened }: Move) {
    const bad = badFields({ actor, note }, verb === "forced");
    if (bad.length > 0) throw invalid(bad);
    const { stage } = await readSaga(id, call);
    const saga = (await loadSagas(pool, [id])).get(id.toLowerCase());
    if (saga === undefined || !(verb === "forced" ? canBeForced(saga.stage) : saga.stage === "PARKED"))
      throw wrongStage(id, stage, verb);
    await driveSagas(options, [{ saga, happened: [{ type: happened }], act: { verb, actor, note } }]);
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

    listSagaEvents: unary(async ({ jobId, pageToken, ...request }, { tenant }) => {
      if (!isUuid(jobId)) throw invalid([{ field: "job_id", description: "must be the id of a job" }]);
      const query = { list: "saga events", tenant, jobId };
      const limit = pageSize(request.pageSize);
      const facts = await listSagaFacts(pool, {
        tenant,
        jobId,
        cursor: decodePageToken(pageToken, query),
        limit: limit + 1,
      });
      const page = fitPage(facts, limit, ({ json }) => Buffer.byteLength(json));
      const last = facts.length > page.length ? page.at(-1) : undefined;
      const cursor = last === undefined ? null : [last.timeText, last.sagaId, String(last.sequence)];
      return {
        events: page.map(factMessage),
        nextPageToken: cursor === null ? "" : encodePageToken(query, cursor),
      };
    }),

    getSagaStats: unary(async (_request, { tenant }) => ({
      live: toCounts(await countLiveSagas(pool, { tenant, most: maxCounted })),
    })),

    retrySaga: unary((request, call) => move(request, call, { verb: "retried", happened: "retried" })),
    skipSaga: unary((request, call) => move(request, call, { verb: "skipped", happened: "skipped" })),
    compensateSaga: unary((request, call) => move(request, call, { verb: "compensating", happened: "compensated" })),
    forceSaga: unary((request, call) => move(request, call, { verb: "forced", happened: "forced" })),

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
        isUuid(id) ? [] : [{ field: `dead_letter_ids[${index}]`, description: "is not an id" }],
      );
      if (bad.length > 0) throw invalid(bad);
      return { resolvedIds: [...(await replayDeadLetters(pool, deadLetterIds, options.handleFacts))] };
    }),
  };
}
