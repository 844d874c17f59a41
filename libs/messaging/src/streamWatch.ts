/**
 * Watches that the stream of a context is the one that holds what was published, at start, after each reconnect and every minute. A store
 * that was wiped, or a stream that was deleted, shows in its time of creation. A tail that was lost with the power of a machine shows in
 * numbers that go backwards; or not at all, so that at start and after each reconnect whatever is younger than the last message of the
 * stream is published again (JetStream drops what it has).
 */
import { createRepairs, type Log, type Pool, requeueFacts, type TellRepair } from "@capstan/postgres";
import type { NatsConnection } from "@nats-io/transport-node";
import { ensureStream, recreateConsumersAhead, type StreamTopology, streamMaxAgeMs, timeOfFact } from "./stream.ts";
import { streamName } from "./subject.ts";

interface StreamWatch {
  /** False until the first check succeeded, while NATS is away, and while the lost is being listed. */
  isUsable(): boolean;
  /** Whether the stream stores many facts together or none of them. */
  takesBatches(): boolean;
  /** Asks for a check; unusable until it is done when the stream is known to be missing. */
  check(reason: "publishing failed" | "stream is missing"): void;
  /** The stream has lost what came after this number; unusable until it is published again. */
  noteLoss(lastKept: number): void;
}

const checkEveryMs = 60_000;
const retryMs = 500;

/** How much later than others a fact may be published: transactions end within 10 s, and the relay turns to each within a few more. */
const orderSlackMs = 15_000;

interface WatchOptions {
  readonly nc: NatsConnection;
  readonly topology: StreamTopology;
  /** Where the epoch is kept and the lost is listed again. */
  readonly db: Pool;
  readonly log: Log;
  /** Called before what may be lost is listed again. */
  readonly onLoss: () => void;
}

/** Checks at once, on each reconnect, when asked, and every minute, until the connection is closed. */
export function watchStream(options: WatchOptions): StreamWatch {
  const { nc, topology, log, db } = options;
  const tell = createRepairs({ pool: db, context: topology.context, log });
  let isGood = false;
  let takesBatches = false;
  let isRunning = false;
  let isAsked = false;
  let isConnected = true;
  let disconnects = 0;
  let checkedAt = -1; // the number of disconnects at the last check that succeeded
  let lastError = "";
  let lastKept = Number.POSITIVE_INFINITY; // what came after it is known to be lost
  let highest = 0; // the last number of the stream when it was looked at
  let retry: NodeJS.Timeout | undefined;

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
      const isTailUnknown = checkedAt !== atDisconnects;
      const onLoss = () => {
        isGood = false;
        options.onLoss();
      };
      const known = { isTailUnknown, lastKept, highest, onLoss, tell };
      const found = await checkStream(options, known);
      if (known.lastKept === lastKept)
        lastKept = Number.POSITIVE_INFINITY; // nothing more was noted meanwhile
      else isAsked = true;
      highest = found.lastSequence;
      takesBatches = found.takesBatches;
      isGood = atDisconnects === disconnects;
      checkedAt = atDisconnects;
      lastError = "";
    } catch (error) {
      isGood = false;
      if (String(error) !== lastError)
        log.error({ err: error, context: topology.context }, "stream could not be checked");
      lastError = String(error);
      // One at a time: each check that somebody asks for meanwhile fails as well.
      clearTimeout(retry);
      retry = setTimeout(check, retryMs).unref();
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
    clearTimeout(retry);
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
    noteLoss(sequence) {
      lastKept = Math.min(lastKept, sequence);
      isGood = false;
      void check();
    },
  };
}

interface Known {
  /** Nobody was connected since the stream was looked at. */
  readonly isTailUnknown: boolean;
  /** What came after it is lost; infinite: nothing is known to be. */
  readonly lastKept: number;
  /** What the stream had when it was looked at before. */
  readonly highest: number;
  /** Called before anything is listed again, so that nothing younger goes out meanwhile. */
  readonly onLoss: () => void;
  readonly tell: TellRepair;
}

async function checkStream(
  options: WatchOptions,
  { isTailUnknown, lastKept, highest, onLoss, tell }: Known,
): Promise<{ readonly takesBatches: boolean; readonly lastSequence: number }> {
  const { nc, topology, db, log } = options;
  const { context } = topology;
  const stream = streamName(context);
  const { created, lastSequence, takesBatches } = await ensureStream(nc, topology, log);
  const recreated = await recreateConsumersAhead(nc, context, lastKept);
  const { rows } = await db.query<{ created: Date }>("select created from broker_epoch where stream = $1", [stream]);
  const known = rows[0]?.created.getTime();
  const isSame = known === created.getTime();
  const isShorter = isSame && (lastKept < lastSequence || lastSequence < highest);
  if (!isSame || isTailUnknown || isShorter || recreated.length > 0) {
    onLoss();
    // A stream that nobody knows yet holds nothing of ours: what was published before belongs to one that is gone.
    const last = isSame ? await timeOfFact(nc, context, Math.min(lastSequence, lastKept)) : null;
    const oldest = Date.now() - streamMaxAgeMs;
    const facts = await requeueFacts(db, new Date(Math.max(oldest, (last?.getTime() ?? 0) - orderSlackMs)));
    await db.query(
      `insert into broker_epoch (stream, created) values ($1, $2)
       on conflict (stream) do update set created = excluded.created, update_time = clock_timestamp()`,
      [stream, created],
    );
    const isLoss = known !== undefined && (!isSame || isShorter || recreated.length > 0);
    if (isLoss) await tell({ repair: "publish-again", message: toldAs(isSame), refs: [stream], count: facts });
  }
  if (recreated.length > 0) {
    const refs = recreated.map((name) => `${stream}/${name}`);
    await tell({ repair: "recreate-consumer", message: "a consumer was ahead of its stream; it was made anew", refs });
  }
  return { takesBatches, lastSequence };
}

function toldAs(isSame: boolean): string {
  return isSame
    ? "stream has lost its tail; facts are published again"
    : "stream was rebuilt; facts are published again";
}
