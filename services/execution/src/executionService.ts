/** Executions and their logs, for users. */
import { invalid, notFound } from "@capstan/errors";
import {
  type Call,
  decodePageToken,
  encodePageToken,
  type FilterFields,
  fitPage,
  pageSize,
  parseFilter,
  serverStream,
  unary,
} from "@capstan/grpc";
import type { Execution as ExecutionMessage } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type {
  ExecutionServiceServer,
  GetExecutionRequest,
  ListExecutionsRequest,
  ListExecutionsResponse,
  ReadLogsRequest,
  TailLogsRequest,
} from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { finalStates, liveStates } from "./execution.ts";
import { toLogSummary, toReason } from "./executionProto.ts";
import { getExecution, listExecutions, type ShownExecution } from "./executionQueries.ts";
import { readLogs, type TailDeps, tailLogs } from "./tailLogs.ts";

const filterFields: FilterFields = {
  job_id: { type: "string" },
  step: { type: "string" },
  attempt: { type: "number" },
  state: { type: "enum", values: [...liveStates, ...finalStates] },
  provider_id: { type: "string" },
  provider_name: { type: "string" },
  create_time: { type: "time" },
};

export function createExecutionService(deps: TailDeps): ExecutionServiceServer {
  return {
    getExecution: unary(async (request: GetExecutionRequest, call) => {
      const executionId = readId(request);
      const found = await getExecution(deps.db, call.tenant, executionId);
      if (found === null) throw notFound("execution", executionId);
      return { execution: toMessage(found) };
    }),
    listExecutions: unary((request: ListExecutionsRequest, call) => list(request, call, deps)),
    readLogs: unary((request: ReadLogsRequest, call) =>
      readLogs({ ...request, executionId: readId(request) }, call, deps),
    ),
    tailLogs: serverStream((request: TailLogsRequest, call) =>
      tailLogs({ ...request, executionId: readId(request) }, call, deps),
    ),
  };
}

async function list(request: ListExecutionsRequest, call: Call, { db }: TailDeps): Promise<ListExecutionsResponse> {
  const limit = pageSize(request.pageSize);
  const query = { tenant: call.tenant, filter: request.filter };
  const found = await listExecutions(db, {
    tenant: call.tenant,
    filter: parseFilter(request.filter, filterFields),
    cursor: decodePageToken(request.pageToken, query),
    limit: limit + 1,
  });
  const page = fitPage(found, limit, ({ execution }) => Buffer.byteLength(execution.result ?? ""));
  const last = page.at(-1);
  const hasMore = found.length > page.length && last !== undefined;
  return { executions: page.map(toMessage), nextPageToken: hasMore ? encodePageToken(query, last.cursor) : "" };
}

function readId(request: { readonly executionId: string }): string {
  const executionId = request.executionId.toLowerCase();
  if (/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(executionId)) return executionId;
  throw invalid([{ field: "execution_id", description: "must be a UUID" }]);
}

function toMessage(shown: ShownExecution): ExecutionMessage {
  const { execution } = shown;
  return {
    id: execution.id,
    tenant: shown.tenant,
    jobId: shown.jobId,
    step: shown.step,
    attempt: shown.attempt,
    providerId: shown.providerId,
    providerName: shown.providerName,
    spec: shown.spec ?? undefined,
    state: `EXECUTION_STATE_${execution.state}`,
    reason: toReason(execution.reason),
    message: execution.message,
    exitCode: execution.exitCode ?? undefined,
    signal: execution.signal,
    result: execution.result === null ? undefined : JSON.parse(execution.result),
    externalRef: execution.externalRef,
    createTime: shown.createTime,
    startTime: shown.startTime ?? undefined,
    endTime: shown.endTime ?? undefined,
    log: toLogSummary(shown.log, shown.log.isSealed),
    fence: execution.fence,
    progress: shown.progress ?? undefined,
  };
}
