/** What a client needs and no more: it is loaded by users' programs, which serve nothing. */
export { type CallSettings, connectTo, type PromiseClient } from "./client.ts";
export type { Duplex, DuplexListener } from "./duplex.ts";
