/**
 * Facts on their way from a commit to the relay of the same process, so that it need not read back what was written a moment ago.
 * What does not arrive this way is found in the outbox.
 */
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import type { StoredFact } from "./facts.ts";

/** The facts of one row of the outbox, in their order. */
export interface ListedFacts {
  /** Of the row. */
  readonly position: number;
  readonly facts: readonly StoredFact[];
}

type Reader = (listed: readonly ListedFacts[]) => void;

const readers = new WeakMap<Pool, Reader>();
const appended = new WeakMap<Db, ListedFacts[]>();

/** Has the facts of every transaction of this pool handed to `reader` after its COMMIT, in the order in which they were appended. */
export function readFreshFacts(pool: Pool, reader: Reader): void {
  readers.set(pool, reader);
}

/** Begins to collect the facts of a transaction; gives back how to hand them on when it is committed. */
export function collectFacts(pool: Pool, transaction: Db): () => void {
  const reader = readers.get(pool);
  if (reader === undefined) return () => {};
  const listed: ListedFacts[] = [];
  appended.set(transaction, listed);
  return () => {
    appended.delete(transaction);
    if (listed.length > 0) reader(listed);
  };
}

/** Notes facts that were appended in a transaction; outside of one, and where nobody reads, nothing. */
export function noteFacts(db: Db, listed: () => ListedFacts): void {
  appended.get(db)?.push(listed());
}
