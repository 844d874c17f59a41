/**
 * Facts that may end the process that handles them. All that is on its way to a process that ends is delivered again, so that deliveries
 * accuse the innocent too. What was delivered often is therefore handled alone, and that it is tried is written down before: after
 * three processes that ended over it, it is the culprit.
 */
import { DomainError } from "@capstan/errors";
import type { Db } from "@capstan/postgres";
import type { ReceivedFact } from "./receivedFact.ts";

/** Deliveries after which a fact is handled alone. */
export const suspectAfter = 3;

/** Processes that may end over one fact. */
const maxTries = 3;

type Handle = (facts: readonly ReceivedFact[]) => Promise<void>;

/** Gives back how to handle one suspect; refuses the culprit for good, which sets it aside. */
export function createSuspects(db: Db, durable: string, handle: Handle): Handle {
  /** Those of this process: tries that fail without ending it count once. */
  const noted = new Map<string, number>();
  return async (facts) => {
    for (const fact of facts) {
      const triesBefore = noted.get(fact.id) ?? (await noteTry(db, durable, fact.id)) - 1;
      noted.set(fact.id, triesBefore);
      if (triesBefore >= maxTries) throw culprit(triesBefore);
      await handle([fact]);
      noted.delete(fact.id);
      await forgetTries(db, durable, fact.id);
    }
  };
}

function culprit(tries: number): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "ENDED_ITS_PROCESS",
    message: `${tries} processes in a row ended while they handled it`,
  });
}

/** Gives back how often it was tried, with this time. */
async function noteTry(db: Db, durable: string, factId: string): Promise<number> {
  const { rows } = await db.query<{ tries: number }>({
    name: "note_try",
    text: `with forgotten as (
             delete from suspect where update_time < clock_timestamp() - interval '7 days'
           )
           insert into suspect (durable, fact_id) values ($1, $2)
           on conflict (durable, fact_id) do update set tries = suspect.tries + 1, update_time = clock_timestamp()
           returning tries`,
    values: [durable, factId],
  });
  return rows[0]?.tries ?? 1;
}

async function forgetTries(db: Db, durable: string, factId: string): Promise<void> {
  await db.query({
    name: "forget_tries",
    text: "delete from suspect where durable = $1 and fact_id = $2",
    values: [durable, factId],
  });
}
