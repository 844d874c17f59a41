/** How much of a table a piece of work reads: what a plan by the right index reads no more of than it needs. */
import { type Db, inTransaction, type Pool } from "@capstan/postgres";

/** Rows of `table`, in the schema of the pool, that the work reads. It is done in one transaction, and takes an index where it can. */
export async function countRowsRead(pool: Pool, table: string, work: (db: Db) => Promise<unknown>): Promise<number> {
  return inTransaction(pool, async (db) => {
    await db.query("set local enable_seqscan = off"); // which is what a small table is read with
    const before = await readSoFar(db, table);
    await work(db);
    return (await readSoFar(db, table)) - before;
  });
}

/** Also what the connection has read shortly before, which is not yet in the server's books. */
async function readSoFar(db: Db, table: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `select seq_tup_read + coalesce(idx_tup_fetch, 0) as count
       from pg_stat_xact_user_tables
      where schemaname = current_schema() and relname = $1`,
    [table],
  );
  return rows[0]?.count ?? 0;
}
