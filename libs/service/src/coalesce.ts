/**
 * Joins calls that come while one is under way: they wait and go together in the next. One call alone starts at once, so
 * joining costs no time when there is nothing to join.
 */
interface Waiting<T, R> {
  readonly item: T;
  resolve(result: R): void;
  reject(error: unknown): void;
}

/** Gives back how to hand in one item. `work` answers per item, in order; when it throws, every item of its batch fails with that. */
export function coalesce<T, R>(
  work: (items: readonly T[]) => Promise<readonly R[]>,
  maxItems = 1_000,
): (item: T) => Promise<R> {
  let waiting: Waiting<T, R>[] = [];
  let isWorking = false;

  async function drain(): Promise<void> {
    isWorking = true;
    // Lets calls that arrived in the same turn of the event loop join the first batch.
    await Promise.resolve();
    while (waiting.length > 0) {
      const batch = waiting.slice(0, maxItems);
      waiting = waiting.slice(maxItems);
      try {
        const results = await work(batch.map(({ item }) => item));
        for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    isWorking = false;
  }

  return (item) =>
    new Promise<R>((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!isWorking) void drain();
    });
}
