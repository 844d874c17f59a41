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

interface Reader {
  /** After the COMMIT of each transaction of the pool, with its rows in their order; transactions come as their answers do. */
  readonly onCommit: (listed: readonly ListedFacts[]) => void;
  /** Facts of the log were listed again; what was handed over before may stand elsewhere in the list now. */
  readonly onListedAgain: () => void;
}

const readers = new WeakMap<Pool, Reader>();
const appended = new WeakMap<Db, ListedFacts[]>();

/** Hands the facts that this process appends to one reader. */
export function readFreshFacts(pool: Pool, reader: Reader): void {
  readers.set(pool, reader);
}

/** What becomes of the facts of a transaction. */
interface Collected {
  /** It is committed. */
  handOn(): void;
  /** Nobody knows whether it is: they are looked for in the list. */
  handOnIfListed(): void;
}

const uncollected: Collected = { handOn: () => {}, handOnIfListed: () => {} };

/** Begins to collect the facts of a transaction. */
export function collectFacts(pool: Pool, transaction: Db): Collected {
  const reader = readers.get(pool);
  if (reader === undefined) return uncollected;
  const listed: ListedFacts[] = [];
  appended.set(transaction, listed);
  return {
    handOn() {
      appended.delete(transaction);
      if (listed.length > 0) reader.onCommit(listed);
    },
    handOnIfListed() {
      if (listed.length > 0) reader.onListedAgain();
    },
  };
}

export function noteListedAgain(pool: Pool): void {
  readers.get(pool)?.onListedAgain();
}

/** Notes facts that were appended in a transaction; outside of one, and where nobody reads, nothing. */
export function noteFacts(db: Db, listed: () => ListedFacts): void {
  appended.get(db)?.push(listed());
}
