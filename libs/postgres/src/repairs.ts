/**
 * Repairs: what was not as it must be and was put right. Each is told three times: as a fact, as a figure and as a line of the log, so that
 * nobody has to wonder why something moved that nobody had moved.
 */
import { metrics } from "@opentelemetry/api";
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import { appendFacts } from "./facts.ts";
import type { Log } from "./log.ts";
import { inTransaction } from "./transaction.ts";
import { uuidv7 } from "./uuid.ts";

/** Something that was put right. */
export interface Repair {
  /** Its name, in words with hyphens; few and constant, because it is in the metric. */
  readonly repair: string;
  /** What was wrong and what was done, as a constant sentence. */
  readonly message: string;
  /** What it was done to. */
  readonly refs: readonly string[];
  /** To how many, where they are not all named. */
  readonly count?: number;
}

const maxRefs = 20;

/** Appends the fact of a repair, `repair.made`; call it in the transaction of the repair where there is one. */
export async function appendRepair(db: Db, { repair, message, refs, count }: Repair, actor: string): Promise<void> {
  const data = { repair, message, count: count ?? refs.length, refs: refs.slice(0, maxRefs), actor };
  const fact = { noun: "repair", event: "made", sequence: 1, correlationId: "", causationId: "", traceparent: null };
  await appendFacts(db, [{ ...fact, id: uuidv7(), tenant: "default", aggregateId: uuidv7(), data }]);
}

/** Tells of repairs that were made; what cannot be told is no reason to fail. Make it once the metrics of the process have started. */
export function createRepairs({
  pool,
  context,
  log,
}: {
  readonly pool: Pool;
  readonly context: string;
  readonly log: Log;
}) {
  const repairs = metrics.getMeter("@capstan/postgres").createCounter("capstan.repairs", {
    description: "What was not as it must be and was put right, by the name of the repair",
  });
  return async (made: Repair): Promise<void> => {
    const { repair, message, refs, count = refs.length } = made;
    repairs.add(count, { context, repair });
    log.warn({ repair, count, refs: refs.slice(0, maxRefs) }, message);
    await inTransaction(pool, (db) => appendRepair(db, made, context)).catch((err: unknown) => {
      log.error({ err, repair }, "the fact of a repair could not be written");
    });
  };
}

export type TellRepair = ReturnType<typeof createRepairs>;
