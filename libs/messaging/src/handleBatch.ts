/**
 * What happens with facts whose handling fails, all of it. Nothing is given back to the broker, where it would come again in
 * another order and block the rest: it is tried again here, or set aside in the database.
 */
import { DomainError, type ErrorCode } from "@capstan/errors";

/** One message in hand. */
export interface Held<Fact> {
  /** The fact, or why the message can never be handled. */
  readonly fact: Fact | Error;
  readonly ack: () => void;
  /** Keeps it as a dead letter, and then tells the broker that it is done. */
  readonly setAside: (reason: unknown) => Promise<void>;
}

interface HandleOptions<Fact> {
  readonly handle: (facts: readonly Fact[]) => Promise<void>;
  /** Waits; throws when we are stopping. */
  readonly pause: (ms: number) => Promise<void>;
  /** Told of each failure that is tried again, and with null when all is well again. */
  readonly onTrouble: (error: unknown) => void;
}

const triesTogether = 3;
const triesAlone = 10;

/**
 * Handles the facts in their order and acks them; returns when each is handled or set aside, throws only when we are stopping.
 * - What is no fact is set aside at once.
 * - A refusal that repeating cannot cure: the facts are handled one by one, and the culprit is set aside.
 * - A defect (a broken constraint, a wrong type): after some more tries the same.
 * - Anything else is an outage: tried again without end, and nothing else is begun meanwhile.
 */
export async function handleBatch<Fact>(batch: readonly Held<Fact>[], options: HandleOptions<Fact>): Promise<void> {
  const facts: Fact[] = [];
  const held: Held<Fact>[] = [];
  for (const each of batch) {
    if (each.fact instanceof Error) await untilDone(() => each.setAside(each.fact), options);
    else {
      facts.push(each.fact);
      held.push(each);
    }
  }
  if (facts.length === 0) return;
  const failure = await untilDone(() => options.handle(facts), options, facts.length > 1 ? triesTogether : triesAlone);
  const [only] = held;
  if (failure === null) for (const { ack } of held) ack();
  else if (held.length > 1) for (const each of held) await handleBatch([each], options);
  else await untilDone(() => only?.setAside(failure.error) ?? Promise.resolve(), options);
}

/** Null when it was done; otherwise the error that more tries will not cure. */
async function untilDone(
  work: () => Promise<void>,
  { pause, onTrouble }: Pick<HandleOptions<never>, "pause" | "onTrouble">,
  triesOfDefect = Number.POSITIVE_INFINITY,
): Promise<{ error: unknown } | null> {
  for (let tries = 1; ; tries++) {
    try {
      await work();
      onTrouble(null);
      return null;
    } catch (error) {
      const cure = cureOf(error);
      if (cure === "none" || (cure === "unlikely" && tries >= triesOfDefect)) return { error };
      onTrouble(error);
      await pause(pauseMs(tries));
    }
  }
}

/** 100 ms, doubled with each try, 2 s at most. */
export function pauseMs(tries: number): number {
  return Math.min(2_000, 100 * 2 ** (tries - 1));
}

const incurable: readonly ErrorCode[] = ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"];

/** SQLSTATE classes of statements that are wrong or break a constraint; 08, 53, 57 and the like are outages. */
const defectiveSql = /^(21|22|23|42)...$/;

/** What repeating may do against an error. */
export function cureOf(error: unknown): "none" | "unlikely" | "time" {
  if (error instanceof DomainError) return incurable.includes(error.code) ? "none" : "time";
  const isDefect = [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
  const { code } = (error ?? {}) as { code?: unknown };
  return isDefect || (typeof code === "string" && defectiveSql.test(code)) ? "unlikely" : "time";
}
