/**
 * What the orchestrator asks of executions. Every answer is per item; a repeated call changes nothing. One about what has ended
 * has the end told again: who asks has not heard of it, and would ask for ever.
 */
import { DomainError, type FieldViolation, invalid } from "@capstan/errors";
import { decodePageToken, encodePageToken, unary } from "@capstan/grpc";
import { appendFacts, inTransaction, type Pool, requeueTerminalFacts, uuidv7 } from "@capstan/postgres";
import type {
  ExecutionInternalServiceServer,
  ExecutionStart,
  ExecutionStop,
  ListLiveExecutionsRequest,
  StartExecutionsRequest,
  StartExecutionsResponse,
  StartOutcome,
  StopExecutionsRequest,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import type { Assignment, Stop } from "./execution.ts";
import { fromKind, toAssignment, toMarkFact, toStopRequest } from "./executionProto.ts";
import { listLive } from "./executionStore.ts";
import type { Runner } from "./runner.ts";
import { findMarks, type Stopped, type StopRequest, stopExecutions } from "./stopStore.ts";

interface ExecutionInternalDeps {
  readonly pool: Pool;
  readonly runner: Runner;
  /** There are executions on record that this runner may have to take up. */
  readonly onUnknown: () => void;
}

const maxBatch = 1_000;
/** Live executions in one answer. */
const maxLive = 10_000;
/** Comes before every id. */
const firstId = "00000000-0000-0000-0000-000000000000";

export function createExecutionInternalService(deps: ExecutionInternalDeps): ExecutionInternalServiceServer {
  return {
    startExecutions: unary((request: StartExecutionsRequest) => startExecutions(request, deps)),
    stopExecutions: unary(async (request: StopExecutionsRequest) => {
      await stopAll(readStops(request.stops), deps);
      return {};
    }),
    listLiveExecutions: unary(async ({ minAge, pageToken }: ListLiveExecutionsRequest) => {
      const query = { list: "live executions" };
      const [after = firstId] = decodePageToken(pageToken, query) ?? [];
      const minAgeMs = (minAge?.seconds ?? 0) * 1_000 + (minAge?.nanos ?? 0) / 1e6;
      const live = await listLive(deps.pool, minAgeMs, after, maxLive);
      const last = live.length === maxLive ? live.at(-1) : undefined;
      return {
        executions: live.map(({ id: executionId, ...execution }) => ({ executionId, ...execution })),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.id]),
      };
    }),
  };
}

async function startExecutions(
  { starts }: StartExecutionsRequest,
  deps: ExecutionInternalDeps,
): Promise<StartExecutionsResponse> {
  const { pool, runner, onUnknown } = deps;
  const assignments = readStarts(starts);
  const unique = new Map(assignments.map((assignment) => [assignment.id, assignment]));
  const added = await runner.assign([...unique.values()]).catch((error: unknown) => {
    // Whether it was recorded is not known; the reaper looks.
    if (!(error instanceof DomainError)) onUnknown();
    throw error;
  });
  const known = [...unique.keys()].filter((id) => !added.has(id));
  const marks = known.length === 0 ? new Set() : await findMarks(pool, known);
  if (known.length > 0) await requeueTerminalFacts(pool, known);
  const answered = new Set<string>();
  const outcomes = assignments.map(({ id }): StartOutcome => {
    if (marks.has(id)) return "START_OUTCOME_STOPPED";
    const isFirst = added.has(id) && !answered.has(id);
    answered.add(id);
    return isFirst ? "START_OUTCOME_ACCEPTED" : "START_OUTCOME_REPEATED";
  });
  return { outcomes };
}

async function stopAll(stops: readonly StopRequest[], deps: ExecutionInternalDeps): Promise<void> {
  const { pool, runner } = deps;
  let asked = new Map(stops.map((stop) => [stop.id, stop]));
  while (asked.size > 0) {
    const stopped = await stopOrMark(pool, asked);
    // Also what was asked before: the answer to that commit may have been lost, and then nobody has told the runner.
    const stopping = stopped.filter((each) => each.outcome === "STOPPING");
    runner.stop(new Map(stopping.map(({ id, reason, message }): [string, Stop] => [id, { reason, message }])));
    const ended = stopped.filter(({ outcome }) => outcome === "ENDED").map(({ id }) => id);
    if (ended.length > 0) await requeueTerminalFacts(pool, ended);
    // What is in no answer was being recorded at the same moment and is there now.
    const answered = new Set(stopped.map(({ id }) => id));
    asked = new Map([...asked].filter(([id]) => !answered.has(id)));
  }
}

/** The marks and their facts are one transaction. */
function stopOrMark(pool: Pool, asked: ReadonlyMap<string, StopRequest>): Promise<readonly Stopped[]> {
  return inTransaction(pool, async (db) => {
    const stopped = await stopExecutions(db, [...asked.values()]);
    const marked = stopped.flatMap(({ id, outcome }) => (outcome === "MARKED" ? (asked.get(id) ?? []) : []));
    if (marked.length > 0) {
      await appendFacts(
        db,
        marked.map((stop) => toMarkFact(stop, uuidv7())),
      );
    }
    return stopped;
  });
}

/** A word of the subjects facts are published under. */
const tenantPattern = /^[a-z0-9_-]{1,63}$/;
const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

function readStarts(starts: readonly ExecutionStart[]): readonly Assignment[] {
  const violations = checkSize("starts", starts.length);
  const assignments = starts.flatMap((start, index) => {
    const kind = fromKind(start.kind);
    const problems = checkIds(`starts[${index}]`, start, ["executionId", "jobId", "providerId"]);
    if (kind === null) problems.push({ field: `starts[${index}].kind`, description: "no backend drives this kind" });
    if (start.spec === undefined) problems.push({ field: `starts[${index}].spec`, description: "is required" });
    violations.push(...problems);
    if (kind === null || start.spec === undefined) return [];
    return [toAssignment(start, kind, start.spec)];
  });
  if (violations.length > 0) throw invalid(violations);
  return assignments;
}

function readStops(stops: readonly ExecutionStop[]): readonly StopRequest[] {
  const violations = checkSize("stops", stops.length);
  const requests = stops.flatMap((stop, index) => {
    violations.push(...checkIds(`stops[${index}]`, stop, ["executionId", "jobId"]));
    const request = toStopRequest(stop);
    if (request !== null) return [request];
    const description = "must be CANCELLED_BY_USER, JOB_TIMEOUT, START_TIMEOUT or OPERATOR";
    violations.push({ field: `stops[${index}].reason`, description });
    return [];
  });
  if (violations.length > 0) throw invalid(violations);
  return requests;
}

function checkSize(field: string, size: number): FieldViolation[] {
  return size <= maxBatch ? [] : [{ field, description: `has ${size} items; at most ${maxBatch} are taken` }];
}

const protoNames = { executionId: "execution_id", jobId: "job_id", providerId: "provider_id" } as const;
type IdField = keyof typeof protoNames;

function checkIds<K extends IdField>(
  path: string,
  item: Readonly<Record<K | "tenant", string>> & { readonly attempt: number },
  fields: readonly K[],
): FieldViolation[] {
  const violations = fields
    .filter((field) => !uuid.test(item[field]))
    .map((field) => ({ field: `${path}.${protoNames[field]}`, description: "must be a UUID in lower case" }));
  if (!tenantPattern.test(item.tenant))
    violations.push({ field: `${path}.tenant`, description: "must be a tenant's name" });
  if (item.attempt < 1) violations.push({ field: `${path}.attempt`, description: "must be 1 or more" });
  return violations;
}
