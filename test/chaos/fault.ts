/** What a fault is: something that is done to the platform and undone again, and what is measured of it. */

import type { Random } from "../support/random.ts";
import type { Load } from "./load.ts";
import type { Node } from "./node.ts";
import type { Platform } from "./platform.ts";
import type { Probes } from "./probes.ts";
import type { LinkProxy } from "./proxy.ts";

export interface Scene {
  readonly platform: Platform;
  readonly load: Load;
  readonly probes: Probes;
  readonly random: Random;
  /** One that no other fault has in hand; given back when the fault is over. */
  takeNode(nodes: readonly Node[]): Node;
  takeLinks(count: number, matching?: RegExp): readonly (readonly [name: string, link: LinkProxy])[];
}

/** What was done to whom, and milliseconds by name. */
export interface Injected {
  readonly target: string;
  readonly figures: Readonly<Record<string, number>>;
}

export interface Fault {
  /** Nothing else is broken meanwhile, because how long it takes to recover is a figure. */
  readonly isAlone: boolean;
  /** Why it cannot be done here; null when it can. */
  readonly whyNot?: (platform: Platform) => string | null;
  /** Does it and undoes it, also when it throws. Throws when the platform does not recover. */
  run(scene: Scene): Promise<Injected>;
}

/** What was targeted, and nothing to measure. */
export function done(target: string, figures: Readonly<Record<string, number>> = {}): Injected {
  return { target, figures };
}
