/**
 * A link between two parts of the platform that can be made bad: slow, reset, cut off, half open (the connection stays and bytes no
 * longer come through in one direction or both), or deaf to exactly the replies that tell of a commit. TCP or unix sockets.
 */
import { once } from "node:events";
import { connect as connectSocket, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";
import { type CommitReplies, findCommitReplies } from "./commitReplies.ts";

export type Target = { readonly host: string; readonly port: number } | { readonly path: string };
export type Direction = "requests" | "replies" | "both";

export interface ProxyOptions {
  /** Several are taken in turn; one that refuses is passed over. */
  readonly targets: readonly Target[];
  /** A port that is free, or the path of a socket. */
  readonly listen: Target;
  /** `postgres` lets the replies to commits be cut. */
  readonly speaks?: "postgres";
}

export interface LinkProxy {
  readonly listen: Target;
  /** Since the proxy was opened. */
  readonly counts: Readonly<Counts>;
  /** Each chunk is late by this, and by up to `jitterMs` more; their order stays. */
  delay(ms: number, jitterMs: number): void;
  /** Nothing comes through any more and nobody is told. What was held back arrives when the link is healed. */
  stall(direction: Direction): void;
  /** Ends all connections with a reset, and every new one at once. */
  refuse(): void;
  /** Ends all connections with a reset; new ones go through. */
  reset(): void;
  /** The next `count` replies to commits are swallowed, and their connections reset. */
  cutCommits(count: number): void;
  heal(): void;
  close(): Promise<void>;
}

interface Counts {
  connections: number;
  /** Chunks that came from clients. */
  requests: number;
  resets: number;
  /** Chunks that were delayed or held back. */
  late: number;
  cutReplies: number;
}

interface Weather {
  delayMs: number;
  jitterMs: number;
  stalled: Direction | null;
  isRefusing: boolean;
  commitsToCut: number;
}

const fair: Readonly<Weather> = { delayMs: 0, jitterMs: 0, stalled: null, isRefusing: false, commitsToCut: 0 };
/** Held back per connection and direction; more stays with its sender. */
const heldBytes = 1024 * 1024;

/** Listens when it resolves. */
export async function openProxy({ targets, listen, speaks }: ProxyOptions): Promise<LinkProxy> {
  const weather: Weather = { ...fair };
  const counts: Counts = { connections: 0, requests: 0, resets: 0, late: 0, cutReplies: 0 };
  const links = new Set<Link>();
  let turn = 0;

  function accept(client: Socket): void {
    counts.connections += 1;
    client.on("error", () => {});
    client.setNoDelay(true);
    if (weather.isRefusing) {
      counts.resets += 1;
      hangUp(client);
      return;
    }
    turn += 1;
    const order = targets.map((_, at) => targets[(turn + at) % targets.length] as Target);
    client.pause();
    connectToFirst(order, (server) => {
      // It may have been cut off since.
      if (server === null || client.destroyed || weather.isRefusing) {
        server?.destroy();
        hangUp(client);
        return;
      }
      const link = join(client, server, { weather, counts, commits: speaks && findCommitReplies() });
      links.add(link);
      client.once("close", () => links.delete(link));
    });
  }

  const server: Server = createServer({ allowHalfOpen: true }, accept);
  server.listen(listen);
  await once(server, "listening");
  const resetAll = () => {
    counts.resets += links.size;
    for (const link of links) link.reset();
  };

  return {
    listen,
    counts,
    delay: (ms, jitterMs) => void Object.assign(weather, { delayMs: ms, jitterMs }),
    stall: (direction) => {
      weather.stalled = direction;
    },
    refuse: () => {
      weather.isRefusing = true;
      resetAll();
    },
    reset: resetAll,
    cutCommits: (count) => {
      weather.commitsToCut = count;
    },
    heal: () => {
      Object.assign(weather, fair);
      for (const link of links) link.flush();
    },
    close: async () => {
      for (const link of links) link.reset();
      if (!server.listening) return;
      server.close();
      await once(server, "close");
    },
  };
}

function connectToFirst(targets: readonly Target[], then: (socket: Socket | null) => void): void {
  const [first, ...others] = targets;
  if (first === undefined) return then(null);
  const socket = connectSocket({ ...first, allowHalfOpen: true } as NetConnectOpts);
  const failed = () => {
    socket.destroy();
    connectToFirst(others, then);
  };
  socket.once("error", failed);
  socket.once("connect", () => {
    socket.off("error", failed);
    socket.on("error", () => {});
    socket.setNoDelay(true);
    then(socket);
  });
}

interface Link {
  reset(): void;
  flush(): void;
}

interface LinkDeps {
  readonly weather: Weather;
  readonly counts: Counts;
  readonly commits: CommitReplies | undefined;
}

function join(client: Socket, server: Socket, { weather, counts, commits }: LinkDeps): Link {
  const reset = () => {
    hangUp(client);
    hangUp(server);
  };
  const countRequest = (): boolean => {
    counts.requests += 1;
    return true;
  };
  const mayPass = (reply: Buffer): boolean => {
    if (commits?.read(reply) !== true || weather.commitsToCut === 0) return true;
    weather.commitsToCut -= 1;
    counts.cutReplies += 1;
    counts.resets += 1;
    reset();
    return false;
  };
  const ways = [
    openWay({ from: client, to: server, direction: "requests", weather, counts, mayPass: countRequest }),
    openWay({ from: server, to: client, direction: "replies", weather, counts, mayPass }),
  ];
  // An orderly end passes through the queues, behind what is still to be delivered.
  for (const socket of [client, server]) socket.once("close", (hadError) => hadError && reset());
  return {
    reset,
    flush: () => {
      for (const way of ways) way.flush();
    },
  };
}

/** A unix socket knows no reset. */
function hangUp(socket: Socket): void {
  if (socket.remotePort === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

interface WayOptions {
  readonly from: Socket;
  readonly to: Socket;
  readonly direction: Direction;
  readonly weather: Weather;
  readonly counts: Counts;
  readonly mayPass: (chunk: Buffer) => boolean;
}

/** One direction of a connection; null in its queue is the end. */
function openWay({ from, to, direction, weather, counts, mayPass }: WayOptions): { flush(): void } {
  const queue: { readonly chunk: Buffer | null; dueTime: number }[] = [];
  let queuedBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const isStalled = () => weather.stalled === "both" || weather.stalled === direction;

  function send(chunk: Buffer | null): void {
    if (to.destroyed) return;
    if (chunk === null) to.end();
    else if (!to.write(chunk)) {
      from.pause();
      to.once("drain", () => from.resume());
    }
  }

  function take(chunk: Buffer | null): void {
    if (queue.length === 0 && weather.delayMs === 0 && !isStalled()) return send(chunk);
    counts.late += 1;
    const last = queue.at(-1)?.dueTime ?? 0;
    const dueTime = Math.max(last, performance.now() + weather.delayMs + Math.random() * weather.jitterMs);
    queue.push({ chunk, dueTime });
    queuedBytes += chunk?.length ?? 0;
    if (queuedBytes > heldBytes) from.pause();
    sendDue();
  }

  function sendDue(): void {
    clearTimeout(timer);
    timer = undefined;
    if (isStalled()) return;
    while (queue[0] !== undefined && queue[0].dueTime <= performance.now()) {
      const { chunk } = queue.shift() as (typeof queue)[number];
      queuedBytes -= chunk?.length ?? 0;
      send(chunk);
    }
    if (queue[0] !== undefined) timer = setTimeout(sendDue, Math.max(1, queue[0].dueTime - performance.now()));
    else if (!to.writableNeedDrain) from.resume();
  }

  from.on("data", (chunk: Buffer) => {
    if (mayPass(chunk)) take(chunk);
  });
  from.on("end", () => take(null));
  from.once("close", () => clearTimeout(timer));
  from.resume();
  return {
    flush: () => {
      for (const held of queue) held.dueTime = 0;
      sendDue();
    },
  };
}
