/**
 * A session: one live client of this process, and what is counted of it. It begins when the client connects and ends once; the rows
 * follow. No clock, no ids, no I/O.
 */

export type SessionKind = "SSE" | "WEBSOCKET";

/** Why a session has ended. */
export type SessionReason =
  | "CLIENT_LEFT"
  | "STREAM_ENDED"
  | "SILENT"
  | "TOO_SLOW"
  | "REFUSED"
  | "GATEWAY_STOPPED"
  | "GATEWAY_LOST"
  | "FAILED";

/** What a client is, from its request. */
export interface SessionClient {
  readonly tenant: string;
  readonly kind: SessionKind;
  readonly client: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly address: string;
  readonly path: string;
}

/** What is counted; written by whoever serves the client. */
export interface SessionCounts {
  subscriptions: number;
  deliveredEvents: number;
  droppedEvents: number;
  sentBytes: number;
  receivedMessages: number;
}

/** A session as its row is. */
export interface SavedSession extends SessionClient, Readonly<SessionCounts> {
  readonly id: string;
  readonly createTime: Date;
  /** When it was last known to be there. */
  readonly heartbeatTime: Date;
  /** Both null while it is there. */
  readonly endTime: Date | null;
  readonly reason: SessionReason | null;
}

export const noCounts: Readonly<SessionCounts> = {
  subscriptions: 0,
  deliveredEvents: 0,
  droppedEvents: 0,
  sentBytes: 0,
  receivedMessages: 0,
};
