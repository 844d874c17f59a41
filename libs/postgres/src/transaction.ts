/** Transactions. COMMIT may fail here and succeed in the database, so that whatever runs in one must bear being done again. */
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import { collectFacts } from "./freshFacts.ts";

/** Runs the work in a transaction of READ COMMITTED and commits when it is done; rolls back when it throws, and throws that. */
export async function inTransaction<T>(pool: Pool, work: (db: Db) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  const facts = collectFacts(pool, client);
  let isBroken = false;
  let isAsked = false;
  try {
    // Not awaited: it leaves in one packet with the first statement, which fails as well if this does.
    const begun = client.query("begin");
    begun.catch(() => {});
    const result = await work(client);
    await begun;
    isAsked = true;
    const { command } = await client.query("commit");
    // Postgres answers the COMMIT of a failed transaction with ROLLBACK, not with an error.
    if (command === "ROLLBACK") throw new Error("nothing was committed: a statement failed and the work went on");
    facts.handOn();
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => {
      isBroken = true;
    });
    if (isAsked) facts.handOnIfListed();
    throw error;
  } finally {
    client.release(isBroken);
  }
}
