/** One WebSocket: what it says is checked and answered, what it subscribed to is told, and it is ended when it is silent or stuck. */
import { DomainError } from "@capstan/errors";
import { mask } from "@capstan/grpc";
import type { FastifyRequest } from "fastify";
import type { RawData, WebSocket } from "ws";
import type { LiveDeps } from "./liveDeps.ts";
import { answers, type ClientMessage, createMessageReader, idOfMessage, type Subscribe } from "./liveMessage.ts";
import { createOutlet, type Outlet } from "./liveOutlet.ts";
import { openSubscription, type Subscription } from "./liveSubscription.ts";
import { createTokens } from "./liveTokens.ts";
import { createSocketWire } from "./liveWire.ts";
import type { SessionReason } from "./session.ts";
import type { OpenSession } from "./sessions.ts";

/** What waits for one client. */
export const queueLimits = { maxEvents: 1_000, maxBytes: 1024 * 1024 } as const;
/** Messages a second that a client may send, and so many at once. */
export const messageRate = { perSecond: 50, burst: 500 } as const;
const stuckMs = 60_000;
/** https://www.iana.org/assignments/websocket/websocket.xhtml */
const closeCodes = { goingAway: 1001, unsupportedData: 1003, policyViolation: 1008 } as const;

/** Serves it until it is closed. Everything that listens to the socket is there before this returns. */
export function serveSocket(socket: WebSocket, request: FastifyRequest, session: OpenSession, deps: LiveDeps): void {
  const { clients, limits, heartbeatMs, budget } = deps;
  const { counts } = session;
  const raw = request.raw.socket;
  const read = createMessageReader(limits);
  const tokens = createTokens(messageRate, Date.now());
  const subscriptions = new Map<string, Subscription>();
  let endReason: SessionReason | null = null;

  const noop = () => {};
  const wire = createSocketWire(
    raw,
    (frame) => socket.readyState === socket.OPEN && socket.send(frame, { binary: false }, noop),
    () => outlet.drain(),
  );
  const outlet: Outlet = createOutlet(wire, counts, queueLimits, budget);
  const say = (answer: object) => outlet.send(JSON.stringify(answer));
  const refuse = (error: unknown, id?: string) => say(answers.error(mask(error), id));

  function close(code: number, why: string, reason: SessionReason): void {
    endReason ??= reason;
    socket.close(code, why);
  }

  function destroy(reason: SessionReason): void {
    endReason ??= reason;
    socket.terminate();
  }

  function subscribe(wanted: Subscribe): void {
    const { id } = wanted;
    if (subscriptions.has(id)) throw alreadySubscribed(id);
    if (subscriptions.size >= limits.maxSubscriptions) throw tooManySubscriptions(limits.maxSubscriptions);
    const forget = () => {
      subscriptions.delete(id);
      counts.subscriptions = subscriptions.size;
    };
    const subscription = openSubscription(
      wanted,
      {
        outlet,
        onBegin: () => say(answers.subscribed(id)),
        onEnd() {
          forget();
          say(answers.unsubscribed(id, "ENDED"));
        },
        onFail(error) {
          subscription.stop();
          forget();
          refuse(error, id);
        },
      },
      deps,
    );
    subscriptions.set(id, subscription);
    counts.subscriptions = subscriptions.size;
  }

  function obey(message: ClientMessage): void {
    if (message.type === "ping") return say(answers.pong());
    if (message.type === "subscribe") return subscribe(message);
    const subscription = subscriptions.get(message.id);
    if (subscription === undefined) throw notSubscribed(message.id);
    subscription.stop();
    subscriptions.delete(message.id);
    counts.subscriptions = subscriptions.size;
    say(answers.unsubscribed(message.id));
  }

  function onMessage(data: RawData, isBinary: boolean): void {
    session.heardTime = Date.now();
    counts.receivedMessages += 1;
    if (isBinary) return close(closeCodes.unsupportedData, "messages must be text", "REFUSED");
    if (!tokens.take(session.heardTime)) {
      return close(closeCodes.policyViolation, `more than ${messageRate.perSecond} messages a second`, "REFUSED");
    }
    // Whoever does not read the answers is not asked for more.
    if (wire.isFull()) {
      socket.pause();
      outlet.whenRoom(() => socket.resume());
    }
    const text = data.toString();
    try {
      obey(read(text));
    } catch (error) {
      refuse(error, idOfMessage(text));
    }
  }

  const client = clients.add({
    beat(now) {
      const stuckSince = wire.stuckSince();
      if (stuckSince !== null && now - stuckSince >= stuckMs) return destroy("TOO_SLOW");
      if (now - session.heardTime > 2.5 * heartbeatMs && stuckSince === null) return destroy("SILENT");
      if (stuckSince !== null) return;
      socket.ping();
      say(answers.heartbeat());
    },
    sendAway: () => close(closeCodes.goingAway, "the gateway is stopping", "GATEWAY_STOPPED"),
    destroy: () => destroy("GATEWAY_STOPPED"),
  });

  socket.on("message", onMessage);
  socket.on("pong", () => {
    session.heardTime = Date.now();
  });
  // A frame that breaks the protocol, or is larger than any message may be: the socket closes itself.
  socket.on("error", () => {
    endReason ??= "REFUSED";
  });
  socket.on("close", () => {
    for (const subscription of subscriptions.values()) subscription.stop();
    subscriptions.clear();
    client.remove();
    wire.close();
    outlet.close();
    session.end(endReason ?? "CLIENT_LEFT");
  });
  say(answers.welcome(session.id, heartbeatMs, limits));
}

function alreadySubscribed(id: string): DomainError {
  return new DomainError({
    code: "ALREADY_EXISTS",
    reason: "ALREADY_SUBSCRIBED",
    message: `there is a subscription ${JSON.stringify(id)} already; unsubscribe first or choose another id`,
  });
}

function notSubscribed(id: string): DomainError {
  return new DomainError({
    code: "NOT_FOUND",
    reason: "SUBSCRIPTION_NOT_FOUND",
    message: `there is no subscription ${JSON.stringify(id)}`,
  });
}

function tooManySubscriptions(most: number): DomainError {
  return new DomainError({
    code: "RESOURCE_EXHAUSTED",
    reason: "TOO_MANY_SUBSCRIPTIONS",
    message: `this session has ${most} subscriptions, which is its limit (CAPSTAN_LIVE_MAX_SUBSCRIPTIONS)`,
  });
}
