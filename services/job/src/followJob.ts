/**
 * The facts of one job as they happen. The log in Postgres is read; NATS only says when to look again, whichever replica wrote
 * the fact, and a slow poll stands in while NATS is away.
 */
import type { NatsConnection } from "@capstan/messaging";
import { type Db, listFacts, type StoredFact } from "@capstan/postgres";

const pageLimit = 500;
const pollMs = 2_000;

/** Facts after a sequence, then each new one; ends after the terminal fact. Throws the signal's reason when aborted. */
export async function* followJob(
  { db, nats }: { db: Db; nats: NatsConnection },
  job: { readonly id: string; readonly tenant: string },
  afterSequence: number,
  signal: AbortSignal,
): AsyncGenerator<StoredFact> {
  let last = afterSequence;
  let wake = () => {};
  let isWoken = false;
  const hints = nats.subscribe(`capstan.v1.${job.tenant}.job.*.*.${job.id}`, {
    callback: () => {
      isWoken = true;
      wake();
    },
  });
  const onAbort = () => wake();
  signal.addEventListener("abort", onAbort);
  try {
    for (;;) {
      signal.throwIfAborted();
      isWoken = false;
      const facts = await listFacts(db, job.id, last, pageLimit);
      for (const fact of facts) {
        last = fact.sequence;
        yield fact;
        if (fact.isTerminal) return;
      }
      if (facts.length > 0 || isWoken || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pollMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    hints.unsubscribe();
  }
}
