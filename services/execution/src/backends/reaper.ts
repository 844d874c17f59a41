/**
 * Makes sure that nothing of an execution outlives it: finds what is left, stops it, kills it, looks again.
 *
 * Cheap where executions are short: in a pid namespace of our own one read proves that nobody is left, for all executions that
 * ended in the same turn; elsewhere one look at /proc serves them all, and looking takes at most a tenth of the time.
 */

import { uptime } from "node:os";
import { findLeftovers, type Main } from "./leftovers.ts";
import { isRunnerDead, openOrphans, type ProcessEntry, readMark, readProcesses } from "./processTable.ts";

const TICKS_PER_SECOND = 100;
const SWEEP_INTERVAL_MS = 5_000;
const MIN_PAUSE_MS = 2;
const startedTicks = (Math.floor(uptime()) - performance.now() / 1000) * TICKS_PER_SECOND;

interface ReaperOptions {
  /** The mark our executions inherit. */
  readonly runner: string;
  /** True when this process lives in a pid namespace that holds nothing but itself, its init and its executions. */
  readonly isContained: boolean;
  /** Executions that live, or ended and were not reported cleared. */
  readonly mains: () => readonly Main[];
  /** Called once for each ended execution when nothing of it is left alive. */
  readonly onCleared: (executionIds: readonly string[]) => void;
}

interface Reaper {
  /** To be called when an execution's first process has ended. */
  wake(): void;
  stop(): void;
}

/** Now, as the process table counts; never later than the truth (it stands still while the machine is suspended). */
export function currentTicks(): number {
  return Math.floor(startedTicks + (performance.now() * TICKS_PER_SECOND) / 1000);
}

/** Watches until stopped. A pass now and then also finds what hid from the one at its execution's end. */
export function startReaper({ runner, isContained, mains, onCleared }: ReaperOptions): Reaper {
  const orphans = isContained ? openOrphans() : () => null;
  let isDue = false;
  let timer: NodeJS.Timeout | null = null;
  let notBefore = 0;

  const isNobodyLeft = () => {
    const pids = orphans();
    return pids?.every((pid) => pid === process.pid) ?? false;
  };
  const lookAndKill = () => {
    const started = performance.now();
    const current = mains();
    const leftovers = killLeftovers({ runner, isContained, mains: current });
    const busy = new Set(leftovers.values());
    onCleared(current.filter((main) => main.hasEnded && !busy.has(main.executionId)).map((main) => main.executionId));
    const now = performance.now();
    notBefore = now + Math.max(MIN_PAUSE_MS, 10 * (now - started));
    if (leftovers.size > 0) wake();
  };
  const pass = () => {
    isDue = false;
    if (isNobodyLeft()) {
      onCleared(
        mains()
          .filter((main) => main.hasEnded)
          .map((main) => main.executionId),
      );
      return;
    }
    const waitMs = notBefore - performance.now();
    if (waitMs <= 0) lookAndKill();
    else timer ??= setTimeout(onTimer, waitMs);
  };
  const onTimer = () => {
    timer = null;
    lookAndKill();
  };
  const wake = () => {
    if (isDue || timer !== null) return;
    isDue = true;
    setImmediate(pass);
  };
  const sweep = setInterval(() => mains().length > 0 && wake(), SWEEP_INTERVAL_MS);
  return {
    wake,
    stop: () => {
      clearInterval(sweep);
      if (timer !== null) clearTimeout(timer);
    },
  };
}

/** One look: sends SIGKILL to everything found and gives it back (pid to execution id). Look again until it is empty. */
export function killLeftovers(options: {
  /** Null: only what dead runners left. */
  readonly runner: string | null;
  readonly isContained: boolean;
  readonly mains: readonly Main[];
}): ReadonlyMap<number, string> {
  const { runner, isContained, mains } = options;
  for (const main of mains) if (main.hasEnded) signalAll([-main.pid], "SIGKILL");
  const all = readProcesses();
  const byPid = new Map(all.map((entry) => [entry.pid, entry]));
  const leftovers = findLeftovers({
    processes: isContained ? all : since(all, mains),
    mains,
    bystanders: new Set([1, process.pid]),
    isContained,
    readMark,
    isOurs: (mark) => mark === runner || isRunnerDead(mark, byPid),
  });
  // All are stopped before the first is killed: else one could start a successor for another.
  signalAll(leftovers.keys(), "SIGSTOP");
  signalAll(leftovers.keys(), "SIGKILL");
  return leftovers;
}

/** Sends a signal to processes (or groups, as negative numbers), some of which may be gone by now. */
export function signalAll(pids: Iterable<number>, signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone between the look and the signal.
    }
  }
}

/** What is older than every execution is none's child; the marks of all others cost a file read each. */
function since(processes: readonly ProcessEntry[], mains: readonly Main[]): readonly ProcessEntry[] {
  const oldest = mains.reduce((ticks, main) => Math.min(ticks, main.startTicks), Number.POSITIVE_INFINITY);
  return mains.length === 0 ? processes : processes.filter((entry) => entry.startTicks >= oldest);
}
