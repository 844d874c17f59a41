/** One feed for each context whose facts can be followed. */
import type { NatsConnection } from "@capstan/messaging";
import type { Logger } from "@capstan/service";
import { createFeed, type Feed } from "./liveFeed.ts";

export const liveContexts = ["job", "execution", "provider", "orchestrator"] as const;
type LiveContext = (typeof liveContexts)[number];

export interface Feeds {
  of(context: LiveContext): Feed;
  close(): Promise<void>;
}

export function createFeeds(options: { readonly nc: NatsConnection; readonly log: Logger }): Feeds {
  const feeds = new Map(liveContexts.map((context) => [context, createFeed({ ...options, context })]));
  return {
    of(context) {
      const feed = feeds.get(context);
      if (feed === undefined) throw new Error(`there is no feed of ${context}`);
      return feed;
    },
    close: async () => void (await Promise.all([...feeds.values()].map((feed) => feed.close()))),
  };
}
