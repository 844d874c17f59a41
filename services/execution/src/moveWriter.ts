/**
 * The one writer of a runner's moves. While a flush is in progress further observations gather; a flush is one transaction for
 * all of them: last log chunks, moves, facts. An execution that starts and ends between two flushes is updated once and tells
 * both facts.
 *
 * A move that is refused was believed in a wrong state: the row is read, and what was observed is decided again on it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { mask } from "@capstan/grpc";
import { appendFacts, type Fact, inTransaction, type Pool, uuidv7 } from "@capstan/postgres";
import { apply, type Execution, type ExecutionEvent, isEnded, isLive, isPublished, stopOf } from "./execution.ts";
import { toFact } from "./executionProto.ts";
import { type Move, readExecutions, saveMoves } from "./executionStore.ts";
import { type HeldExecution, withStop } from "./heldExecution.ts";
import { addChunks } from "./logStore.ts";
import { decide, type Observation } from "./verdict.ts";

interface MoveWriterOptions {
  readonly pool: Pool;
  /** Its end is saved. */
  readonly onEnd: (held: HeldExecution) => void;
  /** The database knows of a stop that this runner did not. */
  readonly onStopFound: (held: HeldExecution) => void;
  /** Another runner holds it, or it is gone. */
  readonly onLeaseLost: (held: HeldExecution) => void;
  readonly log: { error(fields: object, message: string): void };
}

export interface MoveWriter {
  observe(held: HeldExecution, observation: Observation): void;
  /** Resolves when all that was observed of it is saved, or it is over. */
  settled(held: HeldExecution): Promise<void>;
  /** Resolves when nothing is left to save. */
  drain(): Promise<void>;
}

/** What one flush does for one execution. */
interface Draft {
  readonly held: HeldExecution;
  /** How many of its observations are in it. */
  readonly observations: number;
  readonly move: Move;
  readonly facts: readonly Fact[];
}

const maxBatch = 500;

export function createMoveWriter(options: MoveWriterOptions): MoveWriter {
  const dirty = new Set<HeldExecution>();
  let passing: Promise<void> | null = null;

  async function pass(): Promise<void> {
    // What is observed in the same turn of the event loop goes together.
    await new Promise(setImmediate);
    const batch = [...dirty].slice(0, maxBatch);
    for (const held of batch) dirty.delete(held);
    for (const held of await flushInTheEnd(batch, options)) dirty.add(held);
  }

  function startPass(): Promise<void> {
    passing ??= pass().finally(() => {
      passing = null;
      if (dirty.size > 0) void startPass();
    });
    return passing;
  }

  return {
    observe(held, observation) {
      if (held.isOver) return;
      held.observed = [...held.observed, { observation, atMs: performance.now() }];
      dirty.add(held);
      void startPass();
    },
    async settled(held) {
      while (held.observed.length > 0 && !held.isOver) await startPass();
    },
    async drain() {
      while (dirty.size > 0 || passing !== null) await startPass();
    },
  };
}

/** Gives back those with something left to save. An outage is waited for. */
async function flushInTheEnd(batch: readonly HeldExecution[], options: MoveWriterOptions): Promise<HeldExecution[]> {
  let isKnown = true;
  for (let pauseMs = 25; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
    try {
      // What failed may be committed all the same, and a stop may have come on top of it: deciding on what it was before would then
      // tell the same facts once more, which the log refuses for ever.
      if (!isKnown) await readAgain(batch, options);
      isKnown = true;
      return await flush(batch, options);
    } catch (error) {
      isKnown = false;
      if (!canBeCured(error)) return await flushOneByOne(batch, options);
      if (pauseMs === 25)
        options.log.error({ err: error, moves: batch.length }, "moves could not be saved; trying again");
      await delay(pauseMs);
    }
  }
}

const maxTries = 5;

/** So that one that cannot be saved holds up nobody else; after some tries it is set aside. */
async function flushOneByOne(batch: readonly HeldExecution[], options: MoveWriterOptions): Promise<HeldExecution[]> {
  const left: HeldExecution[] = [];
  for (const held of batch) {
    try {
      await readAgain([held], options);
      left.push(...(await flush([held], options)));
    } catch (error) {
      held.failedSaves += canBeCured(error) ? 0 : 1;
      if (held.failedSaves < maxTries) left.push(held);
      else
        options.log.error(
          { err: error, executionId: held.saved.id },
          "an execution cannot be saved and stays as it is",
        );
    }
  }
  return left;
}

/** An outage, an overload, a deadlock: the same may succeed later. Anything else is a defect, ours or of the values. */
function canBeCured(error: unknown): boolean {
  return ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"].includes(mask(error).code);
}

async function flush(batch: readonly HeldExecution[], options: MoveWriterOptions): Promise<HeldExecution[]> {
  const drafts = batch.flatMap((held) => (held.isOver ? [] : draft(held)));
  if (drafts.length === 0) return [];
  const saved = await save(options.pool, drafts);
  const refused = drafts.filter(({ move }) => !saved.has(move.execution.id));
  for (const each of drafts) if (saved.has(each.move.execution.id)) settle(each, options);
  await readAgain(
    refused.map(({ held }) => held),
    options,
  );
  return batch.filter((held) => held.observed.length > 0 && !held.isOver);
}

/** Decides on everything that was observed. No draft when nothing moves. */
function draft(held: HeldExecution): Draft[] {
  const nowMs = performance.now();
  const steps = stepsOf(held);
  const execution = steps.at(-1)?.execution ?? held.saved;
  if (steps.length === 0) {
    held.observed = [];
    return [];
  }
  const msAgo = (isIt: (event: ExecutionEvent) => boolean) => {
    const step = steps.find(({ event }) => isIt(event));
    return step === undefined ? null : nowMs - step.atMs;
  };
  const endedMsAgo = msAgo(isEnded);
  const log = endedMsAgo === null ? null : (held.sealed?.totals ?? null);
  const startedMsAgo = msAgo(({ type }) => type === "started");
  return [
    {
      held,
      observations: held.observed.length,
      move: { execution, was: held.saved.state, startedMsAgo, endedMsAgo, log },
      facts: steps.flatMap((step) =>
        step.isTold && isPublished(step.event)
          ? toFact(step.event, {
              factId: uuidv7(),
              assignment: held.assignment,
              execution: step.execution,
              traceparent: held.span.traceparent ?? held.assignment.traceparent,
              startTime: held.running?.startTime ?? null,
              log,
            })
          : [],
      ),
    },
  ];
}

interface Step {
  readonly event: ExecutionEvent;
  readonly execution: Execution;
  readonly atMs: number;
  /** Whether it is published. */
  readonly isTold: boolean;
}

function stepsOf(held: HeldExecution): readonly Step[] {
  const steps: Step[] = [];
  let execution = held.saved;
  for (const { observation, atMs } of held.observed) {
    const event = decide(execution, observation);
    if (event === null) continue;
    execution = apply(execution, event);
    steps.push({ event, execution, atMs, isTold: isPublished(event) });
  }
  return isBrief(held, steps) ? withoutStart(steps) : steps;
}

/** A handler that began and ended between two flushes tells only its end, which knows when it began. */
function isBrief({ assignment }: HeldExecution, steps: readonly Step[]): boolean {
  const [first, last] = [steps.find(({ event }) => event.type === "started"), steps.at(-1)];
  return assignment.kind === "WORKER" && first !== undefined && last !== undefined && isEnded(last.event);
}

function withoutStart(steps: readonly Step[]): readonly Step[] {
  const at = steps.findIndex(({ event }) => event.type === "started");
  return steps.map((step, index) => {
    if (index < at) return step;
    const execution = { ...step.execution, sequence: step.execution.sequence - 1 };
    return { ...step, execution, isTold: step.isTold && index !== at };
  });
}

function save(pool: Pool, drafts: readonly Draft[]): Promise<Set<string>> {
  // In the order of ids, as every statement that locks many.
  const moves = drafts.map(({ move }) => move).sort((a, b) => (a.execution.id < b.execution.id ? -1 : 1));
  const chunks = drafts.flatMap(({ held, move }) => (move.endedMsAgo === null ? [] : (held.sealed?.rest ?? [])));
  return inTransaction(pool, async (db) => {
    if (chunks.length > 0) await addChunks(db, chunks);
    const saved = await saveMoves(db, moves);
    const facts = drafts.flatMap((each) => (saved.has(each.move.execution.id) ? each.facts : []));
    if (facts.length > 0) await appendFacts(db, facts);
    return saved;
  });
}

function settle({ held, observations, move }: Draft, options: MoveWriterOptions): void {
  held.observed = held.observed.slice(observations);
  // A stop we learnt of meanwhile came after this move, or the move would have been refused.
  held.saved = withStop(move.execution, held.storedStop);
  if (!isLive(held.saved)) end(held, options);
}

function end(held: HeldExecution, options: MoveWriterOptions): void {
  held.isOver = true;
  options.onEnd(held);
}

/** Takes over what the database says of those that are not over. */
async function readAgain(batch: readonly HeldExecution[], options: MoveWriterOptions): Promise<void> {
  const live = batch.filter(({ isOver }) => !isOver);
  if (live.length === 0) return;
  const rows = await readExecutions(
    options.pool,
    live.map(({ saved }) => saved.id),
  );
  for (const held of live) {
    const row = rows.get(held.saved.id);
    if (row === undefined || row.fence !== held.saved.fence) {
      held.isOver = true;
      options.onLeaseLost(held);
      continue;
    }
    held.saved = row;
    const stop = stopOf(row);
    if (!isLive(row))
      end(held, options); // our own commit, whose answer was lost
    else if (stop !== null && held.storedStop === null) {
      held.storedStop = stop;
      options.onStopFound(held);
    }
  }
}
