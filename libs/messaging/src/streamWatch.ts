/**
 * Watches that the stream of a context is the one that holds what was published. A store that was wiped, or a stream that was deleted,
 * shows in its time of creation; a tail lost with the power of the machine does not show, so that at start and after each
 * reconnect whatever is younger than the last message of the stream is published again (JetStream drops what it has).
 */
import { type Log, type Pool, requeueFacts } from "@capstan/postgres";
import type { NatsConnection } from "@nats-io/transport-node";
import { ensureStream, type StreamTopology, streamMaxAgeMs } from "./stream.ts";
import { streamName } from "./subject.ts";

export interface StreamWatch {
  /** False until the first check succeeded, while NATS is away, and while the lost is being listed. */
  isUsable(): boolean;
  /** Whether the stream stores many facts together or none of them. */
  takesBatches(): boolean;
  /** Asks for a check; unusable until it is done when the stream is known to be missing. */
  check(reason: "publishing failed" | "stream is missing"): void;
}

const checkEveryMs = 60_000;
const retryMs = 500;

/** What the clocks of Postgres and NATS may differ, generously. */
const clockSlackMs = 5_000;

interface WatchOptions {
  readonly nc: NatsConnection;
  readonly topology: StreamTopology;
  /** Where the epoch is kept and the lost is listed again. */
  readonly db: Pool;
  readonly log: Log;
}

/** Checks at once, on each reconnect, when asked, and every minute, until the connection is closed. */
export function watchStream(options: WatchOptions): StreamWatch {
  const { nc, topology, log } = options;
  let isGood = false;
  let takesBatches = false;
  let isRunning = false;
  let isAsked = false;
  let isConnected = true;
  let disconnects = 0;
  let checkedAt = -1; // the number of disconnects at the last check that succeeded
  let lastError = "";

  /** Again when it was asked for meanwhile: what it found may be older than the reason for asking. */
  async function check(): Promise<void> {
    isAsked = true;
    if (isRunning) return;
    isRunning = true;
    while (isAsked && isConnected) {
      isAsked = false;
      await checkNow(disconnects);
    }
    isRunning = false;
  }

  async function checkNow(atDisconnects: number): Promise<void> {
    try {
      const found = await checkStream(options, checkedAt !== atDisconnects, () => {
        isGood = false;
      });
      takesBatches = found.takesBatches;
      isGood = atDisconnects === disconnects;
      checkedAt = atDisconnects;
      lastError = "";
    } catch (error) {
      isGood = false;
      if (String(error) !== lastError)
        log.error({ err: error, context: topology.context }, "stream could not be checked");
      lastError = String(error);
      setTimeout(check, retryMs).unref();
    }
  }

  async function followConnection(): Promise<void> {
    for await (const { type } of nc.status()) {
      if (type === "disconnect") {
        isConnected = false;
        isGood = false;
        disconnects += 1;
      } else if (type === "reconnect") {
        isConnected = true;
        void check();
      }
    }
  }

  const timer = setInterval(check, checkEveryMs).unref();
  void nc.closed().then(() => {
    isConnected = false;
    clearInterval(timer);
  });
  void followConnection();
  void check();
  return {
    isUsable: () => isConnected && isGood,
    takesBatches: () => takesBatches,
    check: (reason) => {
      if (reason === "stream is missing") isGood = false;
      void check();
    },
  };
}

/** `onLoss` is called before anything is listed again, so that nothing younger goes out meanwhile. */
async function checkStream(
  options: WatchOptions,
  isTailUnknown: boolean,
  onLoss: () => void,
): Promise<{ takesBatches: boolean }> {
  const { nc, topology, db, log } = options;
  const stream = streamName(topology.context);
  const { created, lastTime, takesBatches } = await ensureStream(nc, topology, log);
  const { rows } = await db.query<{ created: Date }>("select created from broker_epoch where stream = $1", [stream]);
  const known = rows[0]?.created.getTime();
  const isSame = known === created.getTime();
  if (isSame && !isTailUnknown) return { takesBatches };
  onLoss();
  // A stream that nobody knows yet holds nothing of ours: what was published before belongs to one that is gone.
  const oldest = Date.now() - streamMaxAgeMs;
  const since = new Date(isSame && lastTime !== null ? Math.max(oldest, lastTime.getTime() - clockSlackMs) : oldest);
  const facts = await requeueFacts(db, since);
  await db.query(
    `insert into broker_epoch (stream, created) values ($1, $2)
     on conflict (stream) do update set created = excluded.created, update_time = clock_timestamp()`,
    [stream, created],
  );
  if (known !== undefined && !isSame) log.warn({ stream, facts }, "stream was rebuilt; facts are published again");
  return { takesBatches };
}
