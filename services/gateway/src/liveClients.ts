/** All live clients of this process, of whatever kind: their heartbeat, and how they are told to leave when we stop. */
import { setTimeout as sleep } from "node:timers/promises";
import { DomainError } from "@capstan/errors";

/** A connected client, as the one who keeps the time sees it. */
interface LiveClient {
  /** Says that we are there, and ends the client if it is not. */
  beat(now: number): void;
  /** Tells it that we stop; it should leave by itself. */
  sendAway(): void;
  /** Ends the connection at once. */
  destroy(): void;
}

export interface LiveClients {
  /** Throws UNAVAILABLE when we are stopping. */
  refuseIfStopping(): void;
  add(client: LiveClient): { remove(): void };
  /** Tells all to leave, and ends those that have not left after a while. */
  stop(): Promise<void>;
}

const farewellMs = 3_000;

/** Keeps a timer only while somebody is connected. */
export function createLiveClients(heartbeatMs: number): LiveClients {
  const clients = new Set<LiveClient>();
  let timer: NodeJS.Timeout | null = null;
  let isStopping = false;
  let onEmpty = () => {};

  function beat(): void {
    const now = Date.now();
    for (const client of clients) client.beat(now);
  }

  return {
    refuseIfStopping() {
      if (isStopping) throw stopping();
    },
    add(client) {
      clients.add(client);
      timer ??= setInterval(beat, heartbeatMs).unref();
      return {
        remove() {
          if (!clients.delete(client) || clients.size > 0) return;
          if (timer !== null) clearInterval(timer);
          timer = null;
          onEmpty();
        },
      };
    },
    async stop() {
      isStopping = true;
      if (clients.size === 0) return;
      const empty = new Promise<void>((resolve) => {
        onEmpty = resolve;
      });
      for (const client of clients) client.sendAway();
      await Promise.race([empty, sleep(farewellMs)]);
      for (const client of clients) client.destroy();
    },
  };
}

function stopping(): DomainError {
  return new DomainError({
    code: "UNAVAILABLE",
    reason: "SERVER_STOPPING",
    message: "the gateway is stopping; come again",
    retryAfterMs: 1_000,
  });
}
