/**
 * What a scheduling pass asks of Postgres with few and with very many that wait: the heads of 60 lists are read, and the first of each
 * claimed, by the statements of the orchestrator on a database of their own. Each pass is undone, so that all find the same.
 */
import { inTransaction, migrate, openPool, type Pool } from "@capstan/postgres";
import { Client } from "pg";
import { claimSagas, readHeads, type Window } from "../../services/orchestrator/src/waitingStore.ts";
import { type Figures, percentile } from "./figures.ts";
import type { Options } from "./options.ts";
import type { Servers } from "./servers.ts";

const schema = "orchestrator";
const few = 1_000;
const passes = 100;
const window: Window = {
  queues: 64,
  lanesPerQueue: 42,
  headsPerLane: 16,
  afterQueue: { tenant: "", queue: "" },
  afterLanes: [],
};

export async function measurePasses({ createDatabase }: Servers, figures: Figures, options: Options): Promise<void> {
  const url = await createDatabase(`passes_${Date.now()}`);
  const directory = new URL("../../services/orchestrator/migrations/", import.meta.url);
  await migrate({ url, schema, directory });
  const log = { info: () => {}, warn: () => {}, error: () => {}, debug: () => {} };
  const pool = openPool({ url, schema, log });
  try {
    let waiting = 0;
    for (const count of [few, options.waiting]) {
      await fill(pool, waiting, count);
      waiting = count;
      await vacuum(url);
      const times: number[] = [];
      for (let pass = 0; pass < passes; pass += 1) times.push(await timePass(pool));
      const name = `scheduling pass over 60 lists, ${count.toLocaleString("en")} waiting`;
      figures.note(`${name}, p50`, "ms", percentile(times, 0.5));
      figures.note(`${name}, p99`, "ms", percentile(times, 0.99));
    }
  } finally {
    await pool.end();
  }
}

/** Two tenants, three queues each, ten keys each. In portions, so that none meets the limit of a statement. */
async function fill(pool: Pool, from: number, to: number): Promise<void> {
  const portion = 10_000;
  for (let first = from + 1; first <= to; first += portion) {
    await pool.query({
      text: `insert into saga (id, tenant, job_id, job_name, step, attempt, priority, spec, ready_time, placement_key, queue,
                               concurrency_key, order_time, stage, reason, wakeup_time)
             select gen_random_uuid(), 'tenant-' || n % 2, gen_random_uuid(), 'a job', 'main', 1, 0, '{}', clock_timestamp(),
                    'any process', 'queue-' || n % 3, 'key-' || n / 6 % 10, clock_timestamp() - n * interval '1 ms',
                    'WAITING', 'QUEUED', clock_timestamp()
               from generate_series($1::int, $2::int) n`,
      values: [first, Math.min(to, first + portion - 1)],
    });
  }
}

/** Without the limits of a service. */
async function vacuum(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query("vacuum analyze orchestrator.saga");
  await client.end();
}

class Undone extends Error {}

async function timePass(pool: Pool): Promise<number> {
  let ms = Number.NaN;
  const pass = inTransaction(pool, async (db) => {
    const start = performance.now();
    const lanes = await readHeads(db, window);
    const claimed = await claimSagas(
      db,
      lanes.flatMap(({ heads }) => heads.slice(0, 1).map(({ id }) => id)),
    );
    ms = performance.now() - start;
    if (claimed.length !== 60) throw new Error(`the pass claimed ${claimed.length} and not one of each list`);
    throw new Undone();
  });
  await pass.catch((error: unknown) => {
    if (!(error instanceof Undone)) throw error;
  });
  return ms;
}
