/**
 * Does the faults in the order that the seed gives: each kind once before any comes again. Those whose recovery is measured have the
 * platform for themselves; of the others two go on at once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../support/random.ts";
import type { Fault, Injected, Scene } from "./fault.ts";
import { linkFaults } from "./linkFaults.ts";
import { natsFaults } from "./natsFaults.ts";
import type { Node } from "./node.ts";
import type { Platform } from "./platform.ts";
import { postgresFaults } from "./postgresFaults.ts";
import type { LinkProxy } from "./proxy.ts";
import { serviceFaults } from "./serviceFaults.ts";
import { workloadFaults } from "./workloadFaults.ts";

export const faults: Readonly<Record<string, Fault>> = {
  ...serviceFaults,
  ...postgresFaults,
  ...natsFaults,
  ...linkFaults,
  ...workloadFaults,
};
export const kinds = Object.keys(faults);

/** One fault that was done. */
export interface Done extends Injected {
  readonly kind: string;
  /** Since the faults began. */
  readonly beginMs: number;
  readonly endMs: number;
  /** Why the platform did not recover, or the fault could not be done; null when all went well. */
  readonly failure: string | null;
}

export interface NemesisOptions extends Omit<Scene, "random" | "takeNode" | "takeLinks"> {
  readonly seed: number;
  readonly minutes: number;
  /** Empty for all. */
  readonly only: readonly string[];
  readonly onDone: (fault: Done) => void;
}

const atOnce = 2;

/** What cannot be done here, with the reason. */
export function leftOut(platform: Platform, only: readonly string[]): ReadonlyMap<string, string> {
  const asked = kinds.filter((kind) => only.length === 0 || only.includes(kind));
  const reasons = asked.map((kind) => [kind, faults[kind]?.whyNot?.(platform) ?? null] as const);
  return new Map(reasons.filter((entry): entry is [string, string] => entry[1] !== null));
}

/** Answers when the time is over and every kind was done at least once; everything is healed then. */
export async function breakThings(options: NemesisOptions): Promise<readonly Done[]> {
  const { platform, seed, minutes, only, onDone } = options;
  const random = createRandom(seed);
  const impossible = leftOut(platform, only);
  const possible = kinds.filter((kind) => (only.length === 0 || only.includes(kind)) && !impossible.has(kind));
  const records: Done[] = [];
  const running = new Set<Promise<void>>();
  const taken = new Set<object>();
  const begin = performance.now();
  let round: string[] = [];
  let number = 0;

  /** Those that nobody else has in hand; seldom none, and then any. */
  const free = <T extends object>(items: readonly T[], of: (item: T) => object) => {
    const left = items.filter((item) => !taken.has(of(item)));
    return left.length > 0 ? left : items;
  };

  async function run(kind: string): Promise<void> {
    const own = createRandom((seed ^ Math.imul(number++, 0x9e3779b1)) >>> 0);
    const mine = new Set<object>();
    const take = <T extends object>(item: T, handle: object): T => {
      mine.add(handle);
      taken.add(handle);
      return item;
    };
    const scene: Scene = {
      ...options,
      random: own,
      takeNode: (nodes) => {
        const node: Node = own.pick(free(nodes, (each) => each));
        for (const link of Object.values(node.links)) take(link, link);
        return take(node, node);
      },
      takeLinks: (count, matching = /./) => {
        const all = [...platform.links].filter(([name]) => matching.test(name));
        const left = own.shuffled(free(all, ([, link]: readonly [string, LinkProxy]) => link));
        return left.slice(0, count).map((entry) => take(entry, entry[1]));
      },
    };
    const beginMs = performance.now() - begin;
    const end = (injected: Injected, failure: string | null) => {
      const record = { kind, ...injected, beginMs, endMs: performance.now() - begin, failure };
      records.push(record);
      onDone(record);
    };
    try {
      end(await (faults[kind] as Fault).run(scene), null);
    } catch (error) {
      end({ target: "", figures: {} }, error instanceof Error ? error.message : String(error));
    } finally {
      for (const handle of mine) taken.delete(handle);
    }
    await startWhatEnded(platform);
  }

  for (;;) {
    const isOver = performance.now() - begin > minutes * 60_000;
    if (isOver && number >= possible.length) break;
    if (round.length === 0) round = random.shuffled(possible);
    const kind = round.shift();
    if (kind === undefined) break;
    const isAlone = faults[kind]?.isAlone === true;
    if (isAlone) await Promise.all(running);
    while (running.size >= atOnce) await Promise.race(running);
    const work = run(kind);
    running.add(work);
    void work.finally(() => running.delete(work));
    if (isAlone) await work;
    await sleep(random.between(100, 900));
  }
  await Promise.all(running);
  return records;
}

/** As a supervisor does; that it was needed shows in `unexpectedEnd`. */
async function startWhatEnded({ services }: Platform): Promise<void> {
  const ended = services.filter((node) => node.unexpectedEnd() !== null && !node.isRunning());
  await Promise.all(ended.map((node) => node.start().catch(() => {})));
}
