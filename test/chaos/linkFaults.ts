/** Links between services, Postgres, NATS, workers and the user are slow, reset, cut off, half open, or lose replies to commits. */
import { setTimeout as sleep } from "node:timers/promises";
import { done, type Fault } from "./fault.ts";
import type { LinkProxy } from "./proxy.ts";

type Links = readonly (readonly [name: string, link: LinkProxy])[];

const namesOf = (links: Links) => links.map(([name]) => name).join(", ");

async function whileBad(links: Links, ms: number, harm: (link: LinkProxy) => void): Promise<void> {
  try {
    for (const [, link] of links) harm(link);
    await sleep(ms);
  } finally {
    for (const [, link] of links) link.heal();
  }
}

export const linkFaults = {
  "slow-links": {
    isAlone: false,
    run: async ({ random, takeLinks }) => {
      const links = takeLinks(random.between(1, 6));
      const delayMs = random.between(20, 300);
      const ms = random.between(3_000, 6_000);
      await whileBad(links, ms, (link) => link.delay(delayMs, delayMs));
      return done(`${namesOf(links)} by ${delayMs} to ${2 * delayMs} ms for ${ms} ms`);
    },
  },
  "reset-links": {
    isAlone: false,
    run: async ({ random, takeLinks }) => {
      const links = takeLinks(random.between(2, 8));
      const times = random.between(1, 5);
      for (let time = 0; time < times; time++) {
        for (const [, link] of links) link.reset();
        await sleep(random.between(100, 800));
      }
      return done(`${namesOf(links)} ${times} times`);
    },
  },
  "cut-off": {
    isAlone: false,
    run: async ({ random, platform, takeNode }) => {
      const node = takeNode([...platform.services, ...platform.workers]);
      const links = Object.entries(node.links);
      const ms = random.between(2_000, 8_000);
      await whileBad(links, ms, (link) => link.refuse());
      return done(`${node.label} from everything for ${ms} ms`);
    },
  },
  "half-open-links": {
    isAlone: false,
    run: async ({ random, takeLinks }) => {
      const links = takeLinks(random.between(1, 3));
      const direction = random.pick(["requests", "replies", "both"] as const);
      const ms = random.between(3_000, 9_000);
      await whileBad(links, ms, (link) => link.stall(direction));
      // Some notice only that nothing came for too long, others are told now that what they wait for is gone.
      if (random.next() < 0.5) for (const [, link] of links) link.reset();
      return done(`${namesOf(links)}, ${direction}, for ${ms} ms`);
    },
  },
  "cut-commit-replies": {
    isAlone: false,
    run: async ({ random, takeLinks }) => {
      const links = takeLinks(random.between(1, 3), /> postgres$/);
      const before = links.reduce((sum, [, link]) => sum + link.counts.cutReplies, 0);
      await whileBad(links, random.between(1_000, 3_000), (link) => link.cutCommits(random.between(2, 8)));
      const cut = links.reduce((sum, [, link]) => sum + link.counts.cutReplies, 0) - before;
      return done(`${namesOf(links)}: ${cut} replies`);
    },
  },
} satisfies Record<string, Fault>;
