/** Wakes those in this process who wait for news of an execution. A wake may be for nothing; none is missed. */
export interface Wakes {
  wake(executionId: string): void;
  /** Resolves at the next wake after this call; ask before looking, so that nothing in between is missed. */
  next(executionId: string): { readonly news: Promise<void>; forget(): void };
}

export function createWakes(): Wakes {
  const waiting = new Map<string, Set<() => void>>();

  function forget(executionId: string, resolve: () => void): void {
    const others = waiting.get(executionId);
    others?.delete(resolve);
    if (others?.size === 0) waiting.delete(executionId);
  }

  return {
    wake(executionId) {
      const resolves = waiting.get(executionId);
      waiting.delete(executionId);
      for (const resolve of resolves ?? []) resolve();
    },
    next(executionId) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const resolves = waiting.get(executionId) ?? new Set();
      waiting.set(executionId, resolves.add(resolve));
      return { news: promise, forget: () => forget(executionId, resolve) };
    },
  };
}
