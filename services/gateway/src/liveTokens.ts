/** How often somebody may do something: so many at once, and so many a second in the long run. Pure. */

interface Tokens {
  /** False if it is too often. `now` in milliseconds. */
  take(now: number): boolean;
}

export function createTokens(
  { perSecond, burst }: { readonly perSecond: number; readonly burst: number },
  now: number,
): Tokens {
  let left = burst;
  let last = now;
  return {
    take(time) {
      left = Math.min(burst, left + (Math.max(0, time - last) * perSecond) / 1_000);
      last = time;
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}
