/**
 * Facts on their way from a commit to the relay of the same process, so that it need not read back what was written a moment ago.
 * What does not arrive this way is found in the outbox.
 */
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import type { StoredFact } from "./facts.ts";

type Reader = (facts: readonly StoredFact[]) => void;

const readers = new WeakMap<Pool, Reader>();
const appended = new WeakMap<Db, StoredFact[]>();

/** Has the facts of every transaction of this pool handed to `reader` after its COMMIT, in the order in which they were appended. */
export function readFreshFacts(pool: Pool, reader: Reader): void {
  readers.set(pool, reader);
}

/** Begins to collect the facts of a transaction; gives back how to hand them on when it is committed. */
export function collectFacts(pool: Pool, transaction: Db): () => void {
  const reader = readers.get(pool);
  if (reader === undefined) return () => {};
  const facts: StoredFact[] = [];
  appended.set(transaction, facts);
  return () => {
    appended.delete(transaction);
    if (facts.length > 0) reader(facts);
  };
}

/** Notes facts that were appended in a transaction; outside of one, and where nobody reads, nothing. */
export function noteFacts(db: Db, facts: () => readonly StoredFact[]): void {
  appended.get(db)?.push(...facts());
}
