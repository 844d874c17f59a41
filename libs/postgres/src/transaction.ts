/** Transactions. COMMIT may fail here and succeed in the database, so that whatever runs in one must bear being done again. */
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import { collectFacts } from "./freshFacts.ts";

/** Of each transaction under way, the statements that are waited for together with its COMMIT. */
const withCommit = new WeakMap<Db, Promise<unknown>[]>();

/** Runs the work in a transaction of READ COMMITTED and commits when it is done; rolls back when it throws, and throws that. */
export async function inTransaction<T>(pool: Pool, work: (db: Db) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  const facts = collectFacts(pool, client);
  // BEGIN leaves in one packet with the first statement, which fails as well if this does.
  const sent: Promise<unknown>[] = [];
  withCommit.set(client, sent);
  let isBroken = false;
  let isAsked = false;
  try {
    void awaitWithCommit(client, client.query("begin"));
    const result = await work(client);
    isAsked = true;
    const [{ command }] = await Promise.all([client.query("commit"), ...sent]);
    // Postgres answers the COMMIT of a failed transaction with ROLLBACK, not with an error.
    if (command === "ROLLBACK") throw new Error("nothing was committed: a statement failed and the work went on");
    facts.handOn();
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => {
      isBroken = true;
    });
    if (isAsked) facts.handOnIfListed();
    // What the work was told may only be that a statement before had failed.
    const failed = (await Promise.allSettled(sent)).find(({ status }) => status === "rejected");
    throw failed?.status === "rejected" ? failed.reason : error;
  } finally {
    withCommit.delete(client);
    client.release(isBroken);
  }
}

/**
 * Waits for a statement of whose result the work needs nothing: in a transaction together with its COMMIT, which leaves in one packet
 * with it when nothing comes after, and outside of one at once. When it fails, so does the transaction.
 */
export async function awaitWithCommit(db: Db, statement: Promise<unknown>): Promise<void> {
  const sent = withCommit.get(db);
  if (sent === undefined) return void (await statement);
  statement.catch(() => {});
  sent.push(statement);
}
