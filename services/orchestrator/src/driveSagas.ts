/**
 * The shell around the path: load many, decide each, perform together, save those that nobody else has moved meanwhile. What
 * lost the race is loaded and decided again; commands are idempotent, so doing some twice is harmless.
 */
import { DomainError } from "@capstan/errors";
import { appendFacts, type Db, inTransaction, type Pool } from "@capstan/postgres";
import { type Asked, type Contexts, type Performed, perform } from "./perform.ts";
import { type Advance, advance, advanceAll, type Happened, isEnded, newsOf, type Saga, type Verb } from "./runJob.ts";
import { factOf } from "./sagaProto.ts";
import { loadSagas, saveSagas } from "./sagaStore.ts";

export interface SagaDeps {
  readonly pool: Pool;
  readonly contexts: Contexts;
  /** Called with sagas that have ended: what they held is free. */
  readonly onFreed: (sagas: readonly Saga[]) => void;
}

/** A saga and what happened to it, in order. */
export interface Step {
  readonly saga: Saga;
  readonly happened: readonly Happened[];
  /** Who has made it happen, and why; absent where no operator did. */
  readonly act?: Act;
}

/** What an operator did; the facts of the move carry it. */
export interface Act {
  readonly verb: Verb;
  readonly actor: string;
  readonly note: string;
}

const maxTries = 5;

/**
 * Moves sagas on and performs what follows, until each is saved. Throws UNAVAILABLE when something could not be told that no
 * stage remembers (that an attempt runs), so that its fact comes again.
 */
export async function driveSagas(deps: SagaDeps, steps: readonly Step[]): Promise<void> {
  const acts = new Map(steps.flatMap(({ saga, act }) => (act === undefined ? [] : [[saga.id, act] as const])));
  let pending = steps;
  for (let tries = 0; pending.length > 0; tries += 1) {
    if (tries === maxTries) throw unavailable("sagas are moved by too many at once");
    if (tries > 0) pending = await reload(deps.pool, pending);
    const decided = pending.map(({ saga, happened }): Decided => ({ before: saga, ...advanceAll(saga, happened) }));
    const due = await recordEnds(deps.pool, decided);
    const settled = await settleCommands(deps.contexts, due);
    const before = due.map((each) => each.before);
    const after = settled.map(({ saga }) => saga);
    const saved = await save(deps, before, after, acts);
    const untold = settled.find(({ saga, isUntold }) => isUntold && saga.stage !== "SETTLING");
    if (untold !== undefined) throw unavailable(untold.saga.message);
    pending = pending.filter(({ saga }) => !saved.has(saga.id));
  }
}

interface Decided extends Advance {
  readonly before: Saga;
}

/**
 * One that waits may be held at this very moment, and is started as soon as that is saved: that it ends instead is saved before anybody
 * is told of it. Those that were moved meanwhile are left out.
 */
async function recordEnds(db: Db, decided: readonly Decided[]): Promise<readonly Decided[]> {
  const isEnding = ({ before, saga }: Decided) => before.stage === "WAITING" && saga.stage === "SETTLING";
  const ending = decided.filter(isEnding).map(({ saga }) => saga);
  if (ending.length === 0) return decided;
  const saved = await saveSagas(db, ending);
  return decided.flatMap((each): Decided[] => {
    if (!isEnding(each)) return [each];
    const saga = { ...each.saga, version: each.saga.version + 1 };
    return saved.has(saga.id) ? [{ ...each, before: saga, saga }] : [];
  });
}

function unavailable(message: string): DomainError {
  return new DomainError({ code: "UNAVAILABLE", reason: "CONTEXT_UNAVAILABLE", message });
}

async function reload(db: Db, steps: readonly Step[]): Promise<readonly Step[]> {
  const sagas = await loadSagas(
    db,
    steps.map(({ saga }) => saga.id),
  );
  return steps.flatMap(({ saga, happened }) => {
    const current = sagas.get(saga.id);
    return current === undefined ? [] : [{ saga: current, happened }];
  });
}

/** A saga after its commands. */
export interface Settled {
  readonly saga: Saga;
  /** Something could not be reported now, and may be later. */
  readonly isUntold: boolean;
}

/** Performs the commands of many sagas together, and advances each by what its commands came to. */
export async function settleCommands(contexts: Contexts, advances: readonly Advance[]): Promise<readonly Settled[]> {
  const asked = advances.flatMap(({ saga, commands }) => commands.map((command): Asked => ({ saga, command })));
  const performed = await perform(contexts, asked);
  let next = 0;
  const settled = advances.map(({ saga, commands }) => {
    const results = performed.slice(next, next + commands.length);
    next += commands.length;
    const isUntold = results.some((result, at) => commands[at]?.type === "report" && !result.ok && !result.isFinal);
    return { ...afterAnswers(saga, results), isUntold };
  });
  // Why it was parked is told if that can be done now; the saga itself says it to operators.
  const toTell = settled.flatMap(({ saga, commands }) => commands.map((command): Asked => ({ saga, command })));
  if (toTell.length > 0) await perform(contexts, toTell);
  return settled;
}

function afterAnswers(saga: Saga, results: readonly Performed[]): Advance {
  const answer = answerOf(saga, results);
  if (answer !== null) return advance(saga, answer);
  return { saga: saga.failures > 0 && results.length > 0 ? { ...saga, failures: 0 } : saga, commands: [] };
}

/** What the results of a saga's commands mean for it; null when they mean nothing. */
function answerOf(saga: Saga, results: readonly Performed[]): Happened | null {
  const failures = results.filter((result) => !result.ok);
  const refused = failures.find(({ isFinal }) => isFinal);
  if (refused !== undefined) return { type: "commandRefused", message: refused.message };
  const [failed] = failures;
  // A reason to wait that could not be reported is reported with the next change.
  if (failed !== undefined) return saga.stage === "WAITING" ? null : { type: "commandFailed", message: failed.message };
  if (results.length === 0) return null;
  return saga.stage === "SETTLING" ? { type: "told" } : null;
}

/** Saves what has changed, with the facts of what an operator should know. Gives back what is as it should be, changed or not. */
async function save(
  deps: SagaDeps,
  before: readonly Saga[],
  after: readonly Saga[],
  acts: ReadonlyMap<string, Act>,
): Promise<Set<string>> {
  const moves = after.flatMap((saga, index): Move[] =>
    saga === before[index] ? [] : [{ before: before[index] ?? saga, after: saga, act: acts.get(saga.id) }],
  );
  const saved = await saveMoves(deps, moves);
  const freed = moves.map((move) => move.after).filter((saga) => saved.has(saga.id) && isEnded(saga.stage));
  if (freed.length > 0) deps.onFreed(freed);
  const unchanged = after.filter((saga, index) => saga === before[index]).map(({ id }) => id);
  return new Set([...unchanged, ...saved]);
}

export interface Move {
  readonly before: Saga;
  readonly after: Saga;
  readonly act?: Act | undefined;
}

/** Saves sagas that nobody else has moved meanwhile, and tells of what an operator should know; gives back the ids that were saved. */
export async function saveMoves({ pool }: Pick<SagaDeps, "pool">, moves: readonly Move[]): Promise<Set<string>> {
  if (moves.length === 0) return new Set();
  const told = moves.map((move) => ({ ...move, news: newsOf(move.before, move.after, move.act?.verb) }));
  if (told.every(({ news }) => news.length === 0)) {
    return saveSagas(
      pool,
      moves.map(({ after }) => after),
    );
  }
  return inTransaction(pool, async (db) => {
    const ids = await saveSagas(
      db,
      told.map(({ after, news }) => ({ ...after, sequence: after.sequence + news.length })),
    );
    const facts = told.flatMap(({ after, news, act }) =>
      ids.has(after.id)
        ? news.map((event, index) => factOf({ ...after, sequence: after.sequence + index + 1 }, event, act))
        : [],
    );
    if (facts.length > 0) await appendFacts(db, facts);
    return ids;
  });
}
