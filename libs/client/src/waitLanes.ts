/**
 * Lets so many waits be under way at once: each is a stream of the connection, and a server allows a connection a thousand. While
 * others queue, a wait is short, so that each has its turn.
 */
const maxLanes = 400;
const shortMs = 1_000;
const longMs = 30_000;

/** Runs a wait when there is room for it, and tells it how long it may last. */
export type WaitLanes = <T>(wait: (ms: number) => Promise<T>) => Promise<T>;

export function openWaitLanes(): WaitLanes {
  const queue: (() => void)[] = [];
  let used = 0;

  return async (wait) => {
    if (used === maxLanes) await new Promise<void>((resolve) => queue.push(resolve));
    else used += 1;
    try {
      return await wait(queue.length > 0 ? shortMs : longMs);
    } finally {
      const next = queue.shift();
      // The lane goes from hand to hand, so that nobody who comes later takes it.
      if (next === undefined) used -= 1;
      else next();
    }
  };
}
