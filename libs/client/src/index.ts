/** The client of Capstan: typed promise calls to its public services over one address. */
export { type Capstan, type ConnectOptions, connect } from "./connect.ts";
