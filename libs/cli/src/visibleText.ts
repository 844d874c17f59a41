/**
 * Makes text of users safe to print: names and messages may hold escape sequences that recolour, overwrite or retitle a
 * terminal, or turn its reading direction. Only the raw output of a workload is printed as it came.
 */

/** Everything a terminal acts on instead of showing it: control characters, direction marks, line separators. */
const unsafe = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

const shortEscapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escapeCharacter(character: string): string {
  return shortEscapes[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The text on one line, with what a terminal would act on shown as an escape such as `\u001b`. */
export function visibleText(text: string): string {
  return text.replace(unsafe, escapeCharacter);
}

/** True if `visibleText` would change it. */
export function hasUnsafeCharacters(text: string): boolean {
  return text.search(unsafe) >= 0;
}

/**
 * The same for a document in which line breaks are layout and unsafe characters occur inside double quotes only, as in JSON:
 * the escapes are part of that syntax, so that it still parses to the same values.
 */
export function visibleDocument(text: string): string {
  return text.replace(unsafe, (character) => (character === "\n" ? character : escapeCharacter(character)));
}
