/** YAML as one types it, with numbers of lines, colours, and a mark at each line that has a problem. */
import { html } from "htm/preact";
import type { Problem } from "../specText.ts";

type Piece = readonly [kind: string, text: string];

const patterns =
  /(?<comment>(?:^|\s)#.*$)|(?<expression>\$\{\{.*?\}\})|(?<key>^\s*(?:- )*[\w.${}"'-]+(?=:(?:\s|$))|(?<=[{,]\s*)[\w"'-]+(?=:\s))|(?<text>"(?:[^"\\]|\\.)*"|'[^']*')|(?<value>(?<=[\s:[,]|^)(?:true|false|null|-?\d+(?:\.\d+)?(?:s)?)(?=[\s,\]}]|$))/g;

/** One line in pieces of one colour each. */
function piecesOf(line: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const match of line.matchAll(patterns)) {
    if (match.index > at) pieces.push(["", line.slice(at, match.index)]);
    const [kind = ""] = Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined) ?? [];
    pieces.push([kind, match[0]]);
    at = match.index + match[0].length;
  }
  if (at < line.length) pieces.push(["", line.slice(at)]);
  return pieces;
}

export function SpecEditor({
  text,
  problems,
  onInput,
}: {
  text: string;
  problems: readonly Problem[];
  onInput: (text: string) => void;
}) {
  const wrong = Map.groupBy(problems, ({ line }) => line);
  const lines = text.split("\n");

  /** A new line begins where the one before did. */
  function pressed(event: KeyboardEvent): void {
    const area = event.target as HTMLTextAreaElement;
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.isComposing) return;
    const before = area.value.slice(0, area.selectionStart);
    const current = before.slice(before.lastIndexOf("\n") + 1);
    const indent = /^ */.exec(current)?.[0] ?? "";
    const more = /(:|\|)\s*$/.test(current) ? "  " : "";
    event.preventDefault();
    area.setRangeText(`\n${indent}${more}`, area.selectionStart, area.selectionEnd, "end");
    onInput(area.value);
  }

  return html`<div class="editor">
    <ol class="gutter" aria-hidden="true">${lines.map(
      (_, index) =>
        html`<li key=${index} class=${wrong.has(index + 1) ? "wrong" : ""} title=${wrong
          .get(index + 1)
          ?.map(({ message }) => message)
          .join("\n")}>${index + 1}</li>`,
    )}</ol>
    <div class="editor-text">
      <pre aria-hidden="true">${lines.map(
        (line, index) =>
          html`<span key=${index} class=${`editor-line${wrong.has(index + 1) ? " wrong" : ""}`}>${piecesOf(line).map(([kind, piece], at) => html`<span key=${at} class=${kind && `y-${kind}`}>${piece}</span>`)}${"\n"}</span>`,
      )}</pre>
      <textarea aria-label="The job as YAML" aria-describedby="spec-problems" value=${text} spellcheck=${false} autocapitalize="off" autocomplete="off" wrap="off"
        onKeyDown=${pressed} onInput=${(event: Event) => onInput((event.target as HTMLTextAreaElement).value)} />
    </div>
  </div>`;
}
