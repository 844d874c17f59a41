/** Counts what has ended, with the time of each, as it is told by facts or by handlers. */

export interface Ends {
  add(count: number): void;
  /** What waits fails with this. */
  fail(error: Error): void;
  /** Answers when so many have ended since `expect`; fails when nothing has ended for two minutes. */
  reached(): Promise<void>;
  /** Begins to count anew. */
  expect(total: number): void;
  /** Jobs per second among the first and among the last so many; how long it took until the first ended is not in it. */
  rates(share: number): { readonly first: number; readonly last: number };
}

const stallMs = 120_000;

export function createEnds(): Ends {
  let [total, ended] = [0, 0];
  let marks: { readonly time: number; readonly ended: number }[] = [];
  let all = Promise.withResolvers<void>();
  const timeWhen = (count: number) => marks.find((mark) => mark.ended >= count)?.time ?? Number.NaN;

  function expect(count: number): void {
    [total, ended] = [count, 0];
    marks = [{ time: performance.now(), ended: 0 }];
    all = Promise.withResolvers();
    all.promise.catch(() => {});
  }

  return {
    expect,
    add(count) {
      ended += count;
      marks.push({ time: performance.now(), ended });
      if (ended >= total) all.resolve();
    },
    fail: (error) => all.reject(error),
    async reached() {
      const watch = setInterval(() => {
        const quietMs = performance.now() - (marks.at(-1)?.time ?? 0);
        if (quietMs > stallMs) all.reject(new Error(`${ended} of ${total} have ended, and none for ${stallMs} ms`));
      }, 1_000);
      await all.promise.finally(() => clearInterval(watch));
    },
    rates(share) {
      const last = timeWhen(total) - timeWhen(total - share);
      const first = timeWhen(share) - timeWhen(1);
      return { first: (share * 1_000) / first, last: (share * 1_000) / last };
    },
  };
}
