/** Reading the pages of docs/ as a test does: their tables, links and anchors. */

/**
 * The rows of the first table at or after a text of a page, cells without their backticks; the heading row is left out. Throws when
 * there is none, because a test of no rows proves nothing.
 */
export function tableAfter(page: string, place: string): readonly (readonly string[])[] {
  const lines = page.split("\n");
  const from = lines.findIndex((line) => line.startsWith(place));
  const rule = lines.findIndex((line, index) => index >= from && /^\|[-|: ]+\|$/.test(line));
  if (from < 0 || rule < 0) throw new Error(`the page has no table after ${place}`);
  const end = lines.findIndex((line, index) => index > rule && !line.startsWith("|"));
  return lines.slice(rule + 1, end < 0 ? undefined : end).map(cellsOf);
}

function cellsOf(line: string): readonly string[] {
  const [field = "", ...rest] = line
    .slice(1, -1)
    .split(" | ")
    .map((cell) => cell.trim());
  return [field.replaceAll("`", ""), ...rest];
}

/** Where the links of a page lead; those into the web are left out. Code is no text: a pattern in it may look like a link. */
export function linksOf(page: string): readonly string[] {
  const text = page.replaceAll(/```.*?```|`[^`\n]*`/gs, "");
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return links.filter((link) => !/^https?:/.test(link));
}

/** The anchors of a page's headings, made as hosts of repositories make them. */
export function anchorsOf(page: string): readonly string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
