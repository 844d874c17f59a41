/**
 * Time and chance of a simulated platform. Whatever a process awaits goes through `io`, which decides by a seed when it happens, whether it
 * happens at all, whether its answer arrives, and whether the process is still there by then. The same seed tells the same story.
 */
import { DomainError } from "@capstan/errors";
import { createRandom } from "../support/random.ts";

export interface Random {
  /** A whole number from 0 to below this. */
  below(limit: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

function randomOf(seed: number): Random {
  const { next, pick } = createRandom(seed);
  return { below: (limit) => Math.floor(next() * limit), chance: (probability) => next() < probability, pick };
}

/** A process of the platform: what it awaits when it is killed never comes, and it begins anew as another incarnation. */
export interface Process {
  readonly name: string;
  /** Nobody kills whoever looks on from outside. */
  readonly isOutside?: true;
  incarnation: number;
  isUp: boolean;
  /** It stands still, as after SIGSTOP, and knows nothing of it; null if it does not. */
  pause: { readonly sinceMs: number; readonly untilMs: number } | null;
  /** Starts its loops; called at each start. */
  begin: () => void;
}

export interface Scheduler {
  readonly random: Random;
  /** Virtual milliseconds since the beginning; the monotonic clock of everybody. */
  now(): number;
  /** False once everything is healed: from then on nothing fails. */
  isChaotic: boolean;
  healedMs: number;
  /** How often something was done to the platform. */
  readonly faults: Map<string, number>;
  /** The last things that happened, for people. */
  readonly trace: string[];
  note(what: string): void;
  after(ms: number, run: () => void): void;
  /** Does something to what is shared, at one moment, some time from now; answers with what it gave back. */
  io<T>(process: Process, what: string, effect: () => T): Promise<T>;
  sleep(process: Process, ms: number): Promise<void>;
  kill(process: Process): void;
  pause(process: Process, ms: number): void;
  /** Runs until nothing is left, the predicate says so, or the time is over; false in the last case. */
  run(untilMs: number, isDone: () => boolean): Promise<boolean>;
}

type Fate = "done" | "refused" | "killed before" | "killed after" | "answer lost";

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

const kept = 60;

export function createScheduler(seed: number): Scheduler {
  const random = randomOf(seed);
  const heap: Entry[] = [];
  const faults = new Map<string, number>();
  const trace: string[] = [];
  let now = 0;
  let order = 0;

  function after(ms: number, run: () => void): void {
    heap.push({ at: now + ms, order: ++order, run });
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent], heap[at])) break;
      swap(heap, parent, at);
      at = parent;
    }
  }

  function take(): Entry | undefined {
    const [first] = heap;
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return first;
    heap[0] = last;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      if (left < heap.length && isBefore(heap[left], heap[least])) least = left;
      if (right < heap.length && isBefore(heap[right], heap[least])) least = right;
      if (least === at) return first;
      swap(heap, least, at);
      at = least;
    }
  }

  function count(fault: string): void {
    faults.set(fault, (faults.get(fault) ?? 0) + 1);
    note(`-- ${fault}`);
  }

  function note(what: string): void {
    trace.push(`${(now / 1_000).toFixed(3)} ${what}`);
    if (trace.length > kept) trace.shift();
  }

  const delay = () => (random.chance(0.05) ? 1 + random.below(3_000) : 1 + random.below(30));
  /** Of 400 calls in bad times two kill the caller, four are refused and four are done and not answered. */
  function fateOf(): Fate {
    const one = scheduler.isChaotic ? random.below(400) : 400;
    if (one === 0) return "killed before";
    if (one <= 4) return "refused";
    if (one === 5) return "killed after";
    return one <= 9 ? "answer lost" : "done";
  }
  const unavailable = () => new DomainError({ code: "UNAVAILABLE", reason: "SIMULATED", message: "no answer" });

  /** Once all is healed most loops find nothing: what is left waits for its time, and nobody need look for it often. */
  const pace = () => {
    if (scheduler.isChaotic) return 1;
    const calmMs = now - scheduler.healedMs;
    return calmMs < 120_000 ? 2 : calmMs < 600_000 ? 30 : 300;
  };

  const scheduler: Scheduler = {
    random,
    now: () => now,
    isChaotic: true,
    healedMs: Number.POSITIVE_INFINITY,
    faults,
    trace,
    note,
    after,
    io<T>(process: Process, what: string, effect: () => T): Promise<T> {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      promise.catch(() => {});
      const { incarnation } = process;
      const isThere = () => process.incarnation === incarnation && process.isUp;
      const isMortal = process.isOutside !== true;
      function answer(result: T, fate: Fate): void {
        if (fate === "killed after" && isMortal) {
          count(`killed after ${what}`);
          return scheduler.kill(process);
        }
        const isLost = fate === "answer lost";
        if (isLost) count(`answer of ${what} lost`);
        after(delay(), () => isThere() && (isLost ? reject(unavailable()) : resolve(result)));
      }
      function arrive(): void {
        if (process.pause !== null && isThere()) return after(process.pause.untilMs - now + delay(), arrive);
        // What had left a process that was killed may still arrive.
        if (!isThere() && random.chance(0.5)) return;
        const fate = fateOf();
        if (fate === "killed before" && isMortal) {
          count(`killed before ${what}`);
          return scheduler.kill(process);
        }
        if (fate === "refused") {
          count(`${what} refused`);
          return reject(unavailable());
        }
        try {
          const result = effect();
          note(`${process.name}: ${what}`);
          answer(result, fate);
        } catch (error) {
          after(delay(), () => isThere() && reject(error));
        }
      }
      after(delay(), arrive);
      return promise;
    },
    sleep(process, ms) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const { incarnation } = process;
      after(ms * pace(), () => process.incarnation === incarnation && process.isUp && resolve());
      return promise;
    },
    kill(process) {
      if (!process.isUp) return;
      process.isUp = false;
      process.pause = null;
      process.incarnation += 1;
      after(200 + random.below(8_000), () => {
        process.isUp = true;
        process.begin();
      });
    },
    pause(process, ms) {
      if (!process.isUp || process.pause !== null) return;
      const { incarnation } = process;
      process.pause = { sinceMs: now, untilMs: now + ms };
      after(ms, () => {
        if (process.incarnation === incarnation) process.pause = null;
      });
    },
    async run(untilMs, isDone) {
      while (!isDone()) {
        const entry = take();
        if (entry === undefined || entry.at > untilMs) return false;
        now = Math.max(now, entry.at);
        entry.run();
        await settled();
      }
      return true;
    },
  };
  return scheduler;
}

/** Whatever follows from what has just happened, without anything of the outside, has happened too. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isBefore(a: Entry | undefined, b: Entry | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function swap(heap: Entry[], a: number, b: number): void {
  const [first, second] = [heap[a], heap[b]];
  if (first === undefined || second === undefined) return;
  heap[a] = second;
  heap[b] = first;
}
