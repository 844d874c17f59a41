/**
 * The live clients of this process, in memory, and a loop that saves them: what began or ended at once, the rest with each heartbeat.
 * Serving a client never waits for its row, so that live streams go on while Postgres is away.
 */
import { DomainError } from "@capstan/errors";
import { type Pool, uuidv7 } from "@capstan/postgres";
import type { Loop, LoopOptions } from "@capstan/service";
import { noCounts, type SavedSession, type SessionClient, type SessionCounts, type SessionReason } from "./session.ts";
import { forgetReplica, pruneSessions, saveSessions, sweepSessions } from "./sessionStore.ts";

/** A client while it is served. */
export interface OpenSession {
  readonly id: string;
  readonly counts: SessionCounts;
  /** Milliseconds since 1970; when something was last heard from the client. */
  heardTime: number;
  /** The first reason counts. */
  end(reason: SessionReason): void;
}

export interface Sessions {
  /** Refuses with RESOURCE_EXHAUSTED when there are as many as may be. */
  open(client: SessionClient): OpenSession;
  readonly size: number;
  /** Events of all sessions that there were in this process. */
  totals(): Pick<SessionCounts, "deliveredEvents" | "droppedEvents">;
  /** Saves what is not saved; nothing may be opened any more. */
  close(): Promise<void>;
}

interface SessionsOptions {
  readonly app: { startLoop(options: LoopOptions): Loop };
  readonly pool: Pool;
  readonly maxSessions: number;
  readonly heartbeatMs: number;
}

/** How many heartbeats a process may miss before its clients count as gone. */
const heartbeatsOfLease = 3;
const keptMs = 24 * 3_600_000;
const prunedAtOnce = 1_000;
const savedAtOnce = 1_000;
/** Of sessions that have ended while Postgres was away. */
const maxUnsaved = 20_000;

interface Live extends SessionClient {
  readonly id: string;
  readonly counts: SessionCounts;
  readonly createTime: Date;
  heardTime: number;
  endTime: Date | null;
  reason: SessionReason | null;
}

export function createSessions({ app, pool, maxSessions, heartbeatMs }: SessionsOptions): Sessions {
  const replica = { id: uuidv7(), leaseMs: heartbeatsOfLease * heartbeatMs };
  const live = new Map<string, Live>();
  let unsaved = new Map<string, Live>();
  let isKnown = false; // whether our row is there
  let hasSwept = false;
  let keptTime = 0;
  const ended = { deliveredEvents: 0, droppedEvents: 0 };

  async function once(): Promise<boolean> {
    const isDue = live.size > 0 && Date.now() - keptTime >= 0.8 * heartbeatMs;
    const taken = unsaved;
    unsaved = new Map();
    const wanted = isDue ? new Map([...live, ...taken]) : taken;
    try {
      await save([...wanted.values()]);
    } catch (error) {
      unsaved = new Map([...[...taken].slice(-maxUnsaved), ...unsaved]);
      throw error;
    }
    if (isDue) keptTime = Date.now();
    if (live.size === 0 && unsaved.size === 0 && isKnown) {
      await forgetReplica(pool, replica.id);
      isKnown = false;
    }
    if (isDue || !hasSwept) {
      await sweepSessions(pool);
      hasSwept = true;
      return (await pruneSessions(pool, keptMs, prunedAtOnce)) === prunedAtOnce;
    }
    return unsaved.size > 0;
  }

  async function save(sessions: readonly Live[]): Promise<void> {
    for (let from = 0; from < sessions.length; from += savedAtOnce) {
      isKnown = true;
      await saveSessions(pool, replica, sessions.slice(from, from + savedAtOnce).map(toSaved));
    }
  }

  const loop = app.startLoop({ name: "keep-sessions", intervalMs: heartbeatMs, once });

  return {
    get size() {
      return live.size;
    },
    totals() {
      const sum = { ...ended };
      for (const { counts } of live.values()) {
        sum.deliveredEvents += counts.deliveredEvents;
        sum.droppedEvents += counts.droppedEvents;
      }
      return sum;
    },
    open(client) {
      if (live.size >= maxSessions) throw tooMany(maxSessions);
      const now = new Date();
      const session: Live = {
        ...client,
        id: uuidv7(),
        counts: { ...noCounts },
        createTime: now,
        heardTime: now.getTime(),
        endTime: null,
        reason: null,
      };
      live.set(session.id, session);
      unsaved.set(session.id, session);
      loop.wake();
      return {
        id: session.id,
        counts: session.counts,
        get heardTime() {
          return session.heardTime;
        },
        set heardTime(time) {
          session.heardTime = time;
        },
        end(reason) {
          if (!live.delete(session.id)) return;
          session.endTime = new Date();
          session.reason = reason;
          session.counts.subscriptions = 0;
          ended.deliveredEvents += session.counts.deliveredEvents;
          ended.droppedEvents += session.counts.droppedEvents;
          unsaved.set(session.id, session);
          loop.wake();
        },
      };
    },
    async close() {
      await loop.stop();
      await once();
    },
  };
}

function toSaved({ counts, heardTime, ...session }: Live): SavedSession {
  return { ...session, ...counts, heartbeatTime: new Date(heardTime) };
}

function tooMany(maxSessions: number): DomainError {
  return new DomainError({
    code: "RESOURCE_EXHAUSTED",
    reason: "TOO_MANY_SESSIONS",
    message: `this gateway has ${maxSessions} live clients, which is its limit (CAPSTAN_LIVE_MAX_SESSIONS); come again later`,
    retryAfterMs: 5_000,
  });
}
