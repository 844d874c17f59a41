/**
 * The one WebSocket of the page. It is opened with the first subscription, opened again when it breaks, and closed when nobody listens
 * any more. Events reach a listener in bunches, at most ten a second, so that a busy platform does not make a busy page.
 */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { connection } from "./connection.ts";
import type { LiveEvent } from "./liveEvent.ts";

/** What is listened to. */
export interface Subscription {
  readonly topic: "job" | "jobs" | "events" | "logs";
  readonly filter?: Readonly<Record<string, unknown>>;
  /** How many of the last are told first. */
  readonly replay?: number;
  /** Of a job or a log: what comes after this number. */
  readonly afterSequence?: number;
}

interface Listener {
  /** Asked again each time the connection is made, so that it can go on where it was. */
  readonly subscription: () => Subscription;
  readonly onEvents: (events: readonly LiveEvent[]) => void;
  /** Some were left out, so many. */
  readonly onGap: (count: number) => void;
  /** The gateway refuses the subscription. */
  readonly onRefusal: (message: string) => void;
  pending: LiveEvent[];
}

interface ServerMessage {
  readonly type: string;
  readonly id?: string;
  readonly event?: LiveEvent;
  readonly count?: number;
  readonly heartbeatMs?: number;
  readonly message?: string;
}

export type LiveState = "off" | "connecting" | "on" | "lost";

/** How the live connection is. */
export const liveState = signal<LiveState>("off");

const bunchMs = 100;
const longestWaitMs = 10_000;
/** A proxy may neither let a WebSocket through nor refuse it. */
const welcomeWithinMs = 20_000;
const listeners = new Map<string, Listener>();
let socket: WebSocket | null = null;
let failures = 0;
let nextId = 0;
let timers: {
  retry?: ReturnType<typeof setTimeout>;
  flush?: ReturnType<typeof setTimeout>;
  silence?: ReturnType<typeof setTimeout>;
} = {};
let heartbeatMs = 30_000;

function send(message: object): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function subscribe(id: string, { subscription }: Listener): void {
  send({ type: "subscribe", id, ...subscription() });
}

function open(): void {
  clearTimeout(timers.retry);
  if (socket !== null) return;
  if (liveState.value !== "lost") liveState.value = "connecting";
  const url = new URL("api/v1/live", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(url);
  socket = opened;
  watchSilence(welcomeWithinMs);
  opened.onmessage = ({ data }) => {
    watchSilence();
    receive(JSON.parse(String(data)) as ServerMessage);
  };
  opened.onclose = () => {
    if (socket === opened) lost();
  };
}

function welcome(message: ServerMessage): void {
  const isBack = liveState.value === "lost";
  failures = 0;
  heartbeatMs = message.heartbeatMs ?? heartbeatMs;
  liveState.value = "on";
  for (const [id, listener] of listeners) subscribe(id, listener);
  if (isBack) connection.missed();
}

function receive(message: ServerMessage): void {
  if (message.type === "welcome") return welcome(message);
  const listener = message.id === undefined ? undefined : listeners.get(message.id);
  if (listener === undefined) return;
  if (message.type === "dropped") listener.onGap(message.count ?? 0);
  if (message.type === "error") listener.onRefusal(message.message ?? "refused");
  if (message.type === "event" && message.event !== undefined) {
    listener.pending.push(message.event);
    timers.flush ??= setTimeout(flush, bunchMs);
  }
}

function flush(): void {
  delete timers.flush;
  for (const listener of listeners.values()) {
    if (listener.pending.length === 0) continue;
    const events = listener.pending;
    listener.pending = [];
    listener.onEvents(events);
  }
}

/** A connection that is cut without a word is noticed by the heartbeats that do not come. */
function watchSilence(ms = heartbeatMs * 2.5): void {
  clearTimeout(timers.silence);
  timers.silence = setTimeout(() => {
    const silent = socket;
    lost();
    silent?.close();
  }, ms);
}

function lost(): void {
  clearTimeout(timers.silence);
  socket = null;
  if (listeners.size === 0) {
    liveState.value = "off";
    return;
  }
  liveState.value = "lost";
  failures += 1;
  if (failures === 1) connection.check();
  const waitMs = Math.min(longestWaitMs, 250 * 2 ** failures) * (0.75 + Math.random() / 2);
  timers.retry = setTimeout(open, waitMs);
}

function close(): void {
  clearTimeout(timers.retry);
  clearTimeout(timers.flush);
  clearTimeout(timers.silence);
  timers = {};
  const closed = socket;
  socket = null;
  liveState.value = "off";
  closed?.close(1000);
}

const ignore = () => {};

/** Listens until the function that is given back is called. */
export function listen(
  subscription: Listener["subscription"],
  onEvents: Listener["onEvents"],
  { onGap = ignore, onRefusal = ignore }: Partial<Pick<Listener, "onGap" | "onRefusal">> = {},
): () => void {
  nextId += 1;
  const id = `s${nextId}`;
  const listener = { subscription, onEvents, onGap, onRefusal, pending: [] };
  listeners.set(id, listener);
  open();
  if (liveState.value === "on") subscribe(id, listener);
  return () => {
    if (!listeners.delete(id)) return;
    send({ type: "unsubscribe", id });
    // What is left at once is often wanted again by the next screen.
    setTimeout(() => {
      if (listeners.size === 0) close();
    }, 2_000);
  };
}

/** Listens while the component is shown; null listens to nothing. `onGap` is told how many events were left out. */
export function useLive(
  subscription: Subscription | null,
  onEvents: Listener["onEvents"],
  onGap: Listener["onGap"] = connection.missed,
): void {
  const current = useRef({ onEvents, onGap });
  current.current = { onEvents, onGap };
  const key = subscription === null ? "" : JSON.stringify(subscription);
  useEffect(() => {
    if (key === "") return undefined;
    return listen(
      () => JSON.parse(key) as Subscription,
      (events) => current.current.onEvents(events),
      { onGap: (count) => current.current.onGap(count) },
    );
  }, [key]);
}
