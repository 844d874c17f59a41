/** Texts with expressions in them: `hello ${{ input.name }}`. */
import { ExpressionError } from "./expressionError.ts";

type TemplatePart = { readonly text: string } | { readonly expression: string };

/** The parts of a text in their order. A `}}` inside of a quoted text or of braces does not end an expression. */
export function splitTemplate(template: string): readonly TemplatePart[] {
  const parts: TemplatePart[] = [];
  let from = 0;
  for (;;) {
    const start = template.indexOf("${{", from);
    if (start < 0) break;
    if (start > from) parts.push({ text: template.slice(from, start) });
    const end = endOf(template, start + 3);
    parts.push({ expression: template.slice(start + 3, end).trim() });
    from = end + 2;
  }
  if (from < template.length) parts.push({ text: template.slice(from) });
  return parts;
}

/** Where the `}}` begins that ends the expression from `start`. */
function endOf(template: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < template.length) {
    const character = template[at];
    if (character === '"' || character === "'") {
      at = endOfQuoted(template, at, character);
      continue;
    }
    if (character === "{") depth += 1;
    if (character === "}") {
      if (depth === 0) {
        if (template[at + 1] === "}") return at;
        break;
      }
      depth -= 1;
    }
    at += 1;
  }
  throw new ExpressionError("begins an expression that no }} ends");
}

/** After the quoted text that begins at `start`; backslashes escape, also in raw texts, which is only wrong for `r"\"`. */
function endOfQuoted(template: string, start: number, quote: string): number {
  const triple = quote.repeat(3);
  const isTriple = template.startsWith(triple, start);
  const end = isTriple ? triple : quote;
  let at = start + end.length;
  while (at < template.length) {
    if (template[at] === "\\") at += 2;
    else if (template.startsWith(end, at)) return at + end.length;
    else at += 1;
  }
  return at;
}
