/** Workers' connections, and the list of workers for those who want to see them. */
import {
  bidiStream,
  type Call,
  decodePageToken,
  encodePageToken,
  type FilterFields,
  pageSize,
  parseFilter,
  unary,
} from "@capstan/grpc";
import type {
  ListWorkersRequest,
  ListWorkersResponse,
  WorkerServiceServer,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { type ConnectDeps, connectWorker } from "./connectWorker.ts";
import { toWorker } from "./workerProto.ts";
import { listWorkers } from "./workerStore.ts";

const filterFields: FilterFields = {
  pool: { type: "string" },
  sdk: { type: "string" },
  slots: { type: "number" },
  create_time: { type: "time" },
};

export function createWorkerService(deps: ConnectDeps): WorkerServiceServer {
  return {
    connect: bidiStream((stream, call) => connectWorker(stream, call, deps)),
    listWorkers: unary((request: ListWorkersRequest, call) => list(request, call, deps)),
  };
}

async function list(request: ListWorkersRequest, call: Call, { pool }: ConnectDeps): Promise<ListWorkersResponse> {
  const limit = pageSize(request.pageSize);
  const query = { tenant: call.tenant, filter: request.filter };
  const found = await listWorkers(pool, {
    tenant: call.tenant,
    filter: parseFilter(request.filter, filterFields),
    cursor: decodePageToken(request.pageToken, query),
    limit: limit + 1,
  });
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const hasMore = found.length > page.length && last !== undefined;
  return { workers: page.map(toWorker), nextPageToken: hasMore ? encodePageToken(query, [last.pool, last.id]) : "" };
}
