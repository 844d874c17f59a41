/**
 * The way to one client. What its socket does not take waits here, up to a bound, and what is beyond that is left out and counted; the
 * client is told where something is missing and how much. Whoever can read again later what has no room asks first (`hasRoom`).
 */

/** What has to be told of one subscription. */
export interface Channel {
  /** Events left out since the last notice. */
  dropped: number;
  /** What was queued for it is passed over. */
  isClosed: boolean;
  notice(count: number): string;
}

/** The socket as it is written to. */
export interface Wire {
  /** Bytes that the socket did not take yet are too many. */
  isFull(): boolean;
  write(frame: Buffer | string): void;
}

interface OutletLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/** Bytes that wait for all clients of the process together. */
export interface Budget {
  bytes: number;
  readonly maxBytes: number;
}

/** Written by the outlet, read by whoever keeps the session. */
interface OutletCounts {
  deliveredEvents: number;
  droppedEvents: number;
  sentBytes: number;
}

export interface Outlet {
  /** Whether something can be sent at once. */
  readonly hasRoom: boolean;
  /** Sends what must not be left out; ask `hasRoom` before for anything large or frequent. */
  send(frame: Buffer | string): void;
  /** The same of an event, which is counted. */
  sendEvent(frame: Buffer): void;
  /** Sends an event, queues it, or leaves it out. */
  offer(channel: Channel, frame: Buffer): void;
  /** Notes that an event could not be offered, and counts it as left out. */
  lose(channel: Channel): void;
  /** To be called when the socket takes more. */
  drain(): void;
  /** Calls once when there is room. */
  whenRoom(listener: () => void): void;
  /** Forgets what waits, and calls those who wait for room, to find that the client is gone. */
  close(): void;
}

interface Queued {
  readonly channel: Channel;
  readonly frame: Buffer | string;
  readonly isEvent: boolean;
}

export function createOutlet(wire: Wire, counts: OutletCounts, limits: OutletLimits, budget: Budget): Outlet {
  let queue: Queued[] = [];
  let head = 0;
  let bytes = 0;
  let listeners: (() => void)[] = [];
  const lossy = new Set<Channel>();
  const waiting = () => queue.length - head;

  function write(frame: Buffer | string, isEvent: boolean): void {
    counts.sentBytes += frame.length;
    if (isEvent) counts.deliveredEvents += 1;
    wire.write(frame);
  }

  function push(entry: Queued): void {
    queue.push(entry);
    bytes += entry.frame.length;
    budget.bytes += entry.frame.length;
  }

  function shift(): Queued | undefined {
    const entry = queue[head];
    if (entry === undefined) return undefined;
    head += 1;
    bytes -= entry.frame.length;
    budget.bytes -= entry.frame.length;
    if (head > 1_024 && head * 2 > queue.length) {
      queue = queue.slice(head);
      head = 0;
    }
    return entry;
  }

  /** Where something is missing is said in its place: after what came before, and before anything that comes later. */
  function tellLosses(): void {
    for (const channel of lossy) {
      if (!channel.isClosed) push({ channel, frame: channel.notice(channel.dropped), isEvent: false });
      channel.dropped = 0;
    }
    lossy.clear();
  }

  function note(channel: Channel): void {
    channel.dropped += 1;
    counts.droppedEvents += 1;
    lossy.add(channel);
  }

  function hasSpace(size: number): boolean {
    return waiting() < limits.maxEvents && bytes + size <= limits.maxBytes && budget.bytes + size <= budget.maxBytes;
  }

  const outlet: Outlet = {
    get hasRoom() {
      return waiting() === 0 && !wire.isFull();
    },
    send: (frame) => write(frame, false),
    sendEvent: (frame) => write(frame, true),
    offer(channel, frame) {
      if (outlet.hasRoom && channel.dropped === 0) return write(frame, true);
      // Nothing of it is taken again before the client was told what is missing.
      if (channel.dropped === 0 && hasSpace(frame.length)) return push({ channel, frame, isEvent: true });
      note(channel);
    },
    lose(channel) {
      note(channel);
      // Otherwise it is told when the socket takes more.
      if (outlet.hasRoom) outlet.drain();
    },
    drain() {
      while (!wire.isFull()) {
        if (lossy.size > 0 && waiting() <= limits.maxEvents / 2 && bytes <= limits.maxBytes / 2) tellLosses();
        const entry = shift();
        if (entry === undefined) break;
        if (!entry.channel.isClosed) write(entry.frame, entry.isEvent);
      }
      while (outlet.hasRoom && listeners.length > 0) {
        const [listener, ...rest] = listeners;
        listeners = rest;
        listener?.();
      }
    },
    whenRoom(listener) {
      listeners.push(listener);
    },
    close() {
      budget.bytes -= bytes;
      bytes = 0;
      queue = [];
      head = 0;
      lossy.clear();
      const left = listeners;
      listeners = [];
      for (const listener of left) listener();
    },
  };
  return outlet;
}
