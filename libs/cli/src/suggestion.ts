/** What somebody who misspelt a word may have meant. */

/** Edits (insert, remove, replace, swap of neighbours) between two words. */
function distance(a: string, b: string): number {
  let [older, previous]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current[column] = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap ? (older[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [older, previous] = [previous, current];
  }
  return previous[b.length] ?? 0;
}

/** How many edits still look like a slip, for a word of this length. */
function tolerance(word: string): number {
  return word.length <= 3 ? 1 : 2;
}

/** Case and separators aside, so that `runTimeout` and `run-timeout` are the same. */
function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[_-]/g, "");
}

/** The known word nearest to the one that was written; null if none is near, or the word is too long to be worth comparing. */
export function suggest(word: string, known: readonly string[]): string | null {
  if (word.length > 64) return null;
  const written = plain(word);
  const near = known
    .map((name) => ({ name, edits: distance(written, plain(name)) }))
    .filter(
      ({ name, edits }) => edits <= tolerance(name) || (written.length >= 2 && isAbbreviation(written, plain(name))),
    )
    .sort((a, b) => a.edits - b.edits);
  return near[0]?.name ?? null;
}

/** `cmd` of `command`, `BRIDGE` of `NETWORK_BRIDGE`: the end, or the letters in order from the first one. */
function isAbbreviation(short: string, long: string): boolean {
  if (long.endsWith(short)) return true;
  if (short[0] !== long[0]) return false;
  let at = 0;
  for (const letter of long) if (letter === short[at]) at++;
  return at === short.length;
}
