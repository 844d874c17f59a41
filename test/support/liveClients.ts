/** Live clients of the gateway as a user would write them: a reader of Server-Sent Events, and a WebSocket. */
import { WebSocket } from "ws";
import { eventually } from "./eventually.ts";

/** A message of a stream of Server-Sent Events. */
export interface SseMessage {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

export interface SseClient {
  readonly status: number;
  readonly headers: Headers;
  /** Those with data, so far. */
  readonly messages: readonly SseMessage[];
  /** As an EventSource keeps it; "" before the first. */
  readonly lastEventId: string;
  /** Of the last `retry:`, in milliseconds; 0 if there was none. */
  readonly retryMs: number;
  readonly comments: number;
  /** The body of an answer that is no stream. */
  readonly body: unknown;
  /** Resolves when the stream has ended, in whatever way. */
  readonly ended: Promise<void>;
  /** Reads nothing more until `read`. */
  pause(): void;
  read(): void;
  close(): void;
}

/** Resolves with the head of the answer. */
export async function openSse(url: string, headers: Record<string, string> = {}): Promise<SseClient> {
  const leaving = new AbortController();
  const response = await fetch(url, { headers, signal: leaving.signal });
  const messages: SseMessage[] = [];
  const state = { lastEventId: headers["last-event-id"] ?? "", retryMs: 0, comments: 0 };
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  const body: unknown = isStream || response.status === 204 ? null : await response.json();
  let reading = Promise.withResolvers<void>();
  reading.resolve();

  function take(block: string): void {
    let event = "message";
    const data: string[] = [];
    for (const line of block.split("\n")) {
      const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (line.startsWith(":")) state.comments += 1;
      else if (name === "id") state.lastEventId = value;
      else if (name === "event") event = value;
      else if (name === "retry") state.retryMs = Number(value);
      else if (name === "data") data.push(value);
    }
    if (data.length > 0) messages.push({ id: state.lastEventId, event, data: data.join("\n") });
  }

  async function readAll(): Promise<void> {
    if (!isStream || response.body === null) return;
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      blocks.forEach(take);
      await reading.promise;
    }
  }

  return {
    status: response.status,
    headers: response.headers,
    messages,
    get lastEventId() {
      return state.lastEventId;
    },
    get retryMs() {
      return state.retryMs;
    },
    get comments() {
      return state.comments;
    },
    body,
    ended: readAll().catch(() => {}),
    pause() {
      reading = Promise.withResolvers();
    },
    read: () => reading.resolve(),
    close: () => leaving.abort(),
  };
}

/** A CloudEvent as it arrives. */
export interface LiveEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly sequence: number;
  readonly time: string;
  readonly correlationid: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The events of a stream. */
export function eventsOf({ messages }: Pick<SseClient, "messages">): readonly LiveEvent[] {
  return messages.map(({ data }) => JSON.parse(data) as LiveEvent);
}

/** `capstan.job.v1.job.succeeded` as `job.succeeded`. */
export const shortTypeOf = ({ type }: Pick<LiveEvent, "type">) => type.split(".").slice(3).join(".");

export interface SocketMessage {
  readonly type: string;
  readonly id?: string;
  readonly event?: LiveEvent;
  readonly [field: string]: unknown;
}

export interface SocketClient {
  readonly socket: WebSocket;
  readonly messages: readonly SocketMessage[];
  /** The events of one subscription so far. */
  events(id: string): readonly LiveEvent[];
  say(message: object | string): void;
  /** The first message that has these fields, when it is there. */
  next(fields: object): Promise<SocketMessage>;
  /** How it was closed. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  close(): void;
}

/** Resolves when it is open; rejects with the status of the answer that refused it. */
export async function openSocket(url: string, headers: Record<string, string> = {}): Promise<SocketClient> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { headers });
  const messages: SocketMessage[] = [];
  socket.on("message", (data) => void messages.push(JSON.parse(String(data)) as SocketMessage));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once("unexpected-response", (_, response) => reject(new Error(`status ${response.statusCode}`)));
    socket.once("error", reject);
  });
  socket.on("error", () => {});
  const has = (message: SocketMessage, fields: object) =>
    Object.entries(fields).every(([name, value]) => message[name] === value);
  return {
    socket,
    messages,
    events: (id) => messages.flatMap((message) => (message.id === id && message.event ? [message.event] : [])),
    say: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
    next: (fields) =>
      eventually(() => {
        const found = messages.find((message) => has(message, fields));
        if (found === undefined)
          throw new Error(`no ${JSON.stringify(fields)} in ${JSON.stringify(messages.slice(-5))}`);
        return found;
      }),
    closed,
    close: () => socket.close(),
  };
}
