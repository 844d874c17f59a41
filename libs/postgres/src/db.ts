/**
 * What a statement is run on. A store takes a `Db` and never knows whether it stands in a transaction: whoever calls it
 * decides that, with `inTransaction`.
 */
import type { QueryResult, QueryResultRow } from "pg";

/** A statement with a name is prepared once per connection, which saves its planning; give one to what is hot. */
export interface Statement {
  readonly name?: string;
  readonly text: string;
  readonly values?: unknown[];
}

/** A pool, or one of its connections inside a transaction. */
export interface Db {
  query<R extends QueryResultRow>(statement: Statement | string, values?: unknown[]): Promise<QueryResult<R>>;
}
