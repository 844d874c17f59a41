/** gRPC as Capstan speaks it: handlers and clients that know refusals, deadlines and traces; pages and filters of lists. */
export type { Call } from "./call.ts";
export type { CallSettings, PromiseClient } from "./client.ts";
export { connectTo } from "./contextClient.ts";
export type { Duplex } from "./duplex.ts";
export { type FilterFields, parseFilter } from "./filter.ts";
export type { Filter } from "./filterAst.ts";
export { filterToSql } from "./filterSql.ts";
export { type BidiStream, bidiStream, serverStream, unary } from "./handlers.ts";
export { mask } from "./mask.ts";
export { decodePageToken, encodePageToken, fitPage, pageSize } from "./paging.ts";
export { proxyService } from "./proxy.ts";
export { connectRaw, type RawClient } from "./rawClient.ts";
export type { ServiceRegistration } from "./registration.ts";
export { addressInUse, type GrpcServer, serve } from "./server.ts";
export { fromServiceError, toStatus } from "./status.ts";
