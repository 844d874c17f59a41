/** A short queue between the loop that fetches messages and the one that handles them: each waits for the other. */
import { setImmediate as nextTurn } from "node:timers/promises";

interface MessageQueue<T> {
  /** Resolves when there is room for more, or when the queue was closed. */
  push(item: T): Promise<void> | null;
  /** All that is there, at most `max`, as soon as there is something; empty only after `close`. */
  take(max: number): Promise<readonly T[]>;
  /** What was pushed and not taken. */
  waiting(): readonly T[];
  close(): void;
}

export function createMessageQueue<T>(capacity: number): MessageQueue<T> {
  let items: T[] = [];
  let isClosed = false;
  let onItem = () => {};
  let onRoom = () => {};
  return {
    // Null instead of a promise where nobody must wait: this is called for every message.
    push: (item) => {
      items.push(item);
      onItem();
      if (items.length < capacity || isClosed) return null;
      return new Promise((resolve) => {
        onRoom = resolve;
      });
    },
    take: async (max) => {
      while (items.length === 0 && !isClosed) {
        await new Promise<void>((resolve) => {
          onItem = resolve;
        });
      }
      await nextTurn(); // so that all that came in one read of the socket makes one batch, not a first one of one
      if (isClosed) return [];
      const taken = items.slice(0, max);
      items = items.slice(max);
      onRoom();
      return taken;
    },
    waiting: () => items,
    close: () => {
      isClosed = true;
      onItem();
      onRoom();
    },
  };
}
