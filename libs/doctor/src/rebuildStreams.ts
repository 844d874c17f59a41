/**
 * Builds the streams of a running platform again from the logs in Postgres: deletes them, and watches how the services make them anew and
 * publish what they held. Nothing is lost by it; whoever listens gets facts again that it had.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { Client } from "pg";
import { schemas } from "./invariant.ts";

/** How far it is. */
export interface Progress {
  /** In the logs, of the last 7 days. */
  readonly facts: number;
  /** On the streams again. */
  readonly published: number;
}

interface Rebuild {
  /** Deletes the streams of the contexts; one that is not there is passed by. Gives back how many there were. */
  deleteStreams(): Promise<number>;
  /** Watches until the streams hold what the logs do, and nothing waits to be published; null when that takes too long. */
  follow(options: FollowOptions): Promise<Progress | null>;
  close(): Promise<void>;
}

interface FollowOptions {
  /** Called every half second. */
  readonly onProgress: (progress: Progress) => void;
  readonly timeoutMs: number;
}

/** Fails when the database or the broker cannot be reached. */
export async function connectRebuild(databaseUrl: string, natsUrl: string): Promise<Rebuild> {
  const client = new Client({ connectionString: databaseUrl, application_name: "capstan events rebuild" });
  client.on("error", () => {}); // the statement that needs it will fail
  await client.connect();
  const nats = await connect({ servers: natsUrl.split(","), name: "capstan events rebuild", timeout: 3_000 }).catch(
    async (error: unknown) => {
      await client.end();
      throw error;
    },
  );
  return {
    deleteStreams: () => deleteStreams(nats),
    follow: (options) => followRebuild(client, nats, options),
    async close() {
      await client.end();
      await nats.close();
    },
  };
}

async function deleteStreams(nats: NatsConnection): Promise<number> {
  const manager = await jetstreamManager(nats);
  const wanted = new Set(schemas.map(streamOf));
  let deleted = 0;
  for await (const { config } of manager.streams.list()) {
    if (wanted.has(config.name) && (await manager.streams.delete(config.name))) deleted += 1;
  }
  return deleted;
}

async function followRebuild(
  client: Client,
  nats: NatsConnection,
  { onProgress, timeoutMs }: FollowOptions,
): Promise<Progress | null> {
  const giveUpMs = performance.now() + timeoutMs;
  let facts = await countFacts(client);
  for (;;) {
    const [waiting, published] = [await countWaiting(client), await countPublished(nats)];
    onProgress({ facts, published });
    if (waiting === 0 && published >= facts) {
      // Counting reads the whole of the logs: again only now, for what has happened meanwhile.
      facts = await countFacts(client);
      if (published >= facts) return { facts, published };
    }
    if (performance.now() > giveUpMs) return null;
    await sleep(500);
  }
}

function streamOf(context: string): string {
  return `CAPSTAN_${context.toUpperCase()}`;
}

/** In the logs of all contexts. */
function countFacts(client: Client): Promise<number> {
  return countAll(client, (schema) => `${schema}.event where time > clock_timestamp() - interval '7 days'`);
}

/** Rows of facts that wait to be published. */
function countWaiting(client: Client): Promise<number> {
  return countAll(client, (schema) => `${schema}.outbox`);
}

async function countAll(client: Client, from: (schema: string) => string): Promise<number> {
  const counts = schemas.map((schema) => `(select count(*) from ${from(schema)})`);
  const { rows } = await client.query<{ count: string }>(`select ${counts.join(" + ")} as count`);
  return Number(rows[0]?.count);
}

async function countPublished(nats: NatsConnection): Promise<number> {
  const manager = await jetstreamManager(nats);
  const counts = await Promise.all(
    schemas.map((context) =>
      manager.streams.info(streamOf(context)).then(
        ({ state }) => state.messages,
        () => 0, // not made again yet
      ),
    ),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
