/**
 * The scheduling pass: claims WAITING sagas, most urgent first, asks for their capacity in one call, and starts what was held.
 *
 * When a request is refused, everything with the same placement key would be refused too: that key is blocked, and nothing of it is
 * looked at until something has ended. What becomes free then is offered to the most urgent, whatever their keys. So a long queue
 * before a full provider costs nothing, holds up nothing that waits for another, and lets the more urgent pass.
 */
import type { App, Loop } from "@capstan/service";
import { type Move, type SagaDeps, saveMoves, settleCommands } from "./driveSagas.ts";
import { reserve } from "./perform.ts";
import { type Advance, advance, type Happened, type Saga } from "./runJob.ts";
import { placementOf } from "./sagaProto.ts";
import { claimWaiting, claimWaitingOf } from "./sagaStore.ts";

interface PlaceDeps extends Omit<SagaDeps, "onFreed"> {
  /** Called with sagas whose place was just saved. */
  readonly onPlaced: (sagas: readonly Saga[]) => void;
}

const passLimit = 500;
const intervalMs = 5_000;
/** Sagas that other replicas have left are looked for in every pass that nobody woke. */
const lookMs = 0.8 * intervalMs;
/** Of several keys, some of the most urgent may not fit what became free: so many more are asked for. */
const spare = 8;
/** Blocked keys are tried again after this, in case capacity came from somewhere this replica has not seen. */
const probeMs = 1_000;
/** How many keys a probe tries, in turn, and how many sagas of each. */
const probeKeys = 32;
const probeLimit = 16;

/** Sagas handed in and not yet tried at most; more wait in the database. */
const maxFresh = 2_000;

export interface Placing extends Loop {
  /** Nothing with this key is known to wait, so that a new saga may be placed at once. */
  isOpen(key: string): boolean;
  /** New sagas, claimed by this replica. */
  place(sagas: readonly Saga[]): void;
  /** Sagas with these keys wait from now on. */
  waiting(keys: readonly string[]): void;
  /** These have ended: as many others may be tried. */
  freed(sagas: readonly Saga[]): void;
}

export function startPlacing(app: App, deps: PlaceDeps): Placing {
  /** Each blocked key with how many of its sagas may be tried. */
  const blocked = new Map<string, number>();
  let probe: NodeJS.Timeout | null = null;
  const fresh: Saga[] = [];
  let ended = 0;
  // Told of so often that something waits whose key is not blocked, and looked at after so many of these.
  let told = 1;
  let looked = 0;
  let lookedAtMs = 0;

  const loop = app.startLoop({
    name: "place-sagas",
    intervalMs,
    once: async () => {
      const isMoreFresh = await placeFresh();
      const places = ended;
      ended = 0;
      await placeMostUrgent(deps, blocked, places);
      if (told > looked || performance.now() - lookedAtMs > lookMs) {
        const now = told;
        lookedAtMs = performance.now();
        if (!(await placeOpenKeys(deps, blocked))) looked = now;
      }
      const hasRoom = await placeBlockedKeys(deps, blocked);
      if (blocked.size > 0) probe ??= setTimeout(probeNow, probeMs);
      return isMoreFresh || told > looked || hasRoom;
    },
  });

  /** Places what was handed in, the most urgent first; true when there is more. */
  async function placeFresh(): Promise<boolean> {
    const due = fresh.sort((a, b) => b.priority - a.priority).splice(0, passLimit);
    for (const key of await placeSagas(deps, due)) blocked.set(key, 0);
    return fresh.length > 0;
  }

  function probeNow(): void {
    probe = null;
    for (const key of [...blocked.keys()].slice(0, probeKeys)) {
      const tries = Math.max(blocked.get(key) ?? 0, probeLimit);
      // Taken out and put back at the end, so that the next probe begins with others.
      blocked.delete(key);
      blocked.set(key, tries);
    }
    loop.wake();
  }
  app.onStop(() => clearTimeout(probe ?? undefined));
  return {
    ...loop,
    isOpen: (key) => told === looked && !blocked.has(key) && fresh.length < maxFresh,
    place(sagas) {
      if (sagas.length === 0) return;
      fresh.push(...sagas);
      loop.wake();
    },
    waiting(keys) {
      if (keys.every((key) => blocked.has(key))) return;
      told += 1;
      loop.wake();
    },
    freed(sagas) {
      if (blocked.size === 0) return;
      ended += sagas.length;
      for (const { placementKey } of sagas) {
        const tries = blocked.get(placementKey);
        if (tries !== undefined) blocked.set(placementKey, tries + 1);
      }
      loop.wake();
    },
  };
}

/** Offers as many places as became free to the most urgent of all. */
async function placeMostUrgent(deps: PlaceDeps, blocked: Map<string, number>, places: number): Promise<void> {
  if (places === 0) return;
  const limit = Math.min(passLimit, places + (blocked.size > 1 ? spare : 0));
  const waiting = await claimWaiting(deps.pool, { exceptKeys: [], limit });
  const refused = await placeSagas(deps, waiting);
  for (const { placementKey: key } of waiting) {
    if (refused.has(key)) blocked.set(key, 0);
    else if (blocked.has(key)) blocked.set(key, Math.max(0, (blocked.get(key) ?? 0) - 1));
  }
}

/** Places what no refusal stands against; true when there may be more. */
async function placeOpenKeys(deps: PlaceDeps, blocked: Map<string, number>): Promise<boolean> {
  const exceptKeys = [...blocked.keys()];
  const waiting = await claimWaiting(deps.pool, { exceptKeys, limit: passLimit });
  for (const key of await placeSagas(deps, waiting)) blocked.set(key, 0);
  return waiting.length === passLimit;
}

/** Tries as many of each blocked key as may be tried; true when more may be. A key of which nothing waits is blocked no longer. */
async function placeBlockedKeys(deps: PlaceDeps, blocked: Map<string, number>): Promise<boolean> {
  const due = [...blocked].filter(([, tries]) => tries > 0);
  for (const [key, tries] of due) {
    const limit = Math.min(tries, passLimit);
    const waiting = await claimWaitingOf(deps.pool, key, limit);
    const refused = await placeSagas(deps, waiting);
    if (refused.size > 0) blocked.set(key, 0);
    else if (waiting.length < limit) blocked.delete(key);
    // Others may have ended meanwhile. All that a probe tried has fitted: perhaps more does.
    else blocked.set(key, (blocked.get(key) ?? 0) - limit + (limit >= probeLimit ? limit : 0));
  }
  return [...blocked.values()].some((tries) => tries > 0);
}

/** Places claimed sagas; gives back the keys of those that were refused for want of a place. */
async function placeSagas(deps: PlaceDeps, sagas: readonly Saga[]): Promise<Set<string>> {
  if (sagas.length === 0) return new Set();
  const answers = await reserve(deps.contexts, sagas);
  const happened = answers.map((answer): Happened => {
    if (!answer.ok) return { type: answer.isFinal ? "commandRefused" : "commandFailed", message: answer.message };
    return placementOf(answer.value);
  });
  const advances = sagas.map((saga, index) => advance(saga, happened[index] as Happened));
  // What is held is saved before anything is started: a crash in between only sends the same start again. What was moved by a
  // cancel meanwhile is not saved; the cancel also gives back its capacity.
  const saved = await saveMoves(
    deps,
    advances.map(({ saga }, index) => ({ before: sagas[index] ?? saga, after: saga })),
  );
  const due = advances.filter(({ saga, commands }) => saved.has(saga.id) && commands.length > 0);
  deps.onPlaced(due.map(({ saga }) => saga).filter(({ stage }) => stage === "RESERVED"));
  await startHeld(
    deps,
    due.map(({ saga, commands }) => ({ saga: { ...saga, version: saga.version + 1 }, commands })),
  );
  return new Set(
    sagas.filter((_, index) => happened[index]?.type === "notPlaced").map(({ placementKey }) => placementKey),
  );
}

async function startHeld(deps: PlaceDeps, due: readonly Advance[]): Promise<void> {
  const settled = await settleCommands(deps.contexts, due);
  const moves = settled.flatMap(({ saga: after }, index): Move[] => {
    const before = due[index]?.saga ?? after;
    return after === before ? [] : [{ before, after }];
  });
  await saveMoves(deps, moves);
}
