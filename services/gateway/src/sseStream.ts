/**
 * A stream of Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html) to one client. Nothing is queued for
 * it: whoever sends waits for room, and reads later what it could not send, so that a slow client loses nothing.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { LiveClients } from "./liveClients.ts";
import { createSocketWire } from "./liveWire.ts";
import type { SessionReason } from "./session.ts";
import type { OpenSession } from "./sessions.ts";

export interface SseStream {
  readonly hasRoom: boolean;
  /** Resolves when there is room, or the client is gone. */
  room(): Promise<void>;
  whenRoom(listener: () => void): void;
  /** Sends an event. */
  sendEvent(frame: Buffer): void;
  /** Sends what is none: a comment, an id. */
  send(text: string): void;
  /** Aborts when the client is gone, or sent away. */
  readonly signal: AbortSignal;
  /** Ends the stream from our side; the first reason counts. */
  end(reason: SessionReason): void;
}

interface SseOptions {
  readonly clients: LiveClients;
  readonly session: OpenSession;
  /** A line to say with each heartbeat, beside the comment. */
  readonly onHeartbeat?: () => string;
}

const stuckMs = 60_000;

/** Not all at once, when a gateway with many clients starts again. */
const retryMs = () => Math.round(1_000 + Math.random() * 2_000);

/** Answers with the head of the stream; from here on the reply is no more Fastify's. */
export function openSse(
  request: FastifyRequest,
  reply: FastifyReply,
  { clients, session, onHeartbeat = () => "" }: SseOptions,
): SseStream {
  const gone = new AbortController();
  const { socket } = request.raw;
  const response = reply.raw;
  const { counts } = session;
  let listeners: (() => void)[] = [];
  counts.subscriptions = 1;

  function wakeAll(): void {
    while (listeners.length > 0 && (stream.hasRoom || gone.signal.aborted)) {
      const [listener, ...rest] = listeners;
      listeners = rest;
      listener?.();
    }
  }

  const wire = createSocketWire(socket, (frame) => void response.write(frame), wakeAll);

  function leave(reason: SessionReason): void {
    if (gone.signal.aborted) return;
    session.end(reason);
    client.remove();
    wire.close();
    gone.abort(new Error("the client is gone"));
    wakeAll();
  }

  const stream: SseStream = {
    get hasRoom() {
      return !wire.isFull();
    },
    room: () =>
      stream.hasRoom || gone.signal.aborted ? Promise.resolve() : new Promise((resolve) => listeners.push(resolve)),
    whenRoom: (listener) => void listeners.push(listener),
    sendEvent(frame) {
      if (gone.signal.aborted) return;
      counts.deliveredEvents += 1;
      counts.sentBytes += frame.length;
      wire.write(frame);
    },
    send(text) {
      if (gone.signal.aborted) return;
      counts.sentBytes += text.length;
      wire.write(text);
    },
    signal: gone.signal,
    end(reason) {
      if (gone.signal.aborted) return;
      leave(reason);
      response.end();
    },
  };

  const client = clients.add({
    beat(now) {
      const stuckSince = wire.stuckSince();
      if (stuckSince !== null) {
        if (now - stuckSince < stuckMs) return;
        leave("TOO_SLOW");
        return void socket.destroy();
      }
      session.heardTime = now;
      stream.send(`${onHeartbeat()}: heartbeat\n\n`);
    },
    sendAway() {
      stream.send(`retry: ${retryMs()}\n\n`);
      stream.end("GATEWAY_STOPPED");
    },
    destroy: () => void socket.destroy(),
  });

  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) response.setHeader(name, value);
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
  });
  response.on("close", () => leave("CLIENT_LEFT"));
  response.on("error", () => leave("CLIENT_LEFT"));
  stream.send(`retry: ${retryMs()}\n\n`);
  return stream;
}

/** What the client is not to ask again: its EventSource would, after any other end. */
export function nothingMore(reply: FastifyReply): FastifyReply {
  return reply.code(204).send();
}
