/** Bounds how many starts an engine is asked for at once; the others wait, in order, and can give up. */
export interface StartGate {
  /** True if there is room now, which is then taken. Those who wait already go first. */
  tryEnter(): boolean;
  /** Waits for room; false when the signal aborted first. */
  enter(signal: AbortSignal): Promise<boolean>;
  leave(): void;
}

export function createStartGate(limit: number): StartGate {
  let inside = 0;
  const waiting = new Set<() => void>(); // in order of insertion

  return {
    tryEnter() {
      if (inside >= limit || waiting.size > 0) return false;
      inside++;
      return true;
    },
    enter(signal) {
      if (signal.aborted) return Promise.resolve(false);
      if (this.tryEnter()) return Promise.resolve(true);
      return new Promise((resolve) => {
        const giveUp = () => {
          waiting.delete(admit);
          resolve(false);
        };
        const admit = () => {
          signal.removeEventListener("abort", giveUp);
          resolve(true);
        };
        signal.addEventListener("abort", giveUp, { once: true });
        waiting.add(admit);
      });
    },
    leave() {
      const [next] = waiting;
      if (next === undefined) {
        inside--;
        return;
      }
      waiting.delete(next);
      next();
    },
  };
}
