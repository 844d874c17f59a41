/** Prints what a command has to say: a table for people, JSON or YAML (the proto JSON mapping) for programs. */
import type { Writable } from "node:stream";
import { Document, isScalar, type Scalar, visit } from "yaml";
import { hasUnsafeCharacters, visibleDocument, visibleText } from "./visibleText.ts";

export const outputFormats = ["table", "json", "yaml"] as const;
export type OutputFormat = (typeof outputFormats)[number];

/** JSON of two-space indent, or of one line; characters that a terminal acts on are escaped, which changes no value. */
export function toJson(value: unknown, { isCompact = false } = {}): string {
  return visibleDocument(`${JSON.stringify(value, null, isCompact ? undefined : 2)}\n`);
}

/** YAML; what a terminal acts on stands escaped in double quotes, which changes no value. */
export function toYaml(value: unknown): string {
  // Through JSON first, so that dates and absent values come out as they do there.
  const document = new Document(JSON.parse(JSON.stringify(value)), { aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, node: Scalar) {
      if (isScalar(node) && typeof node.value === "string" && hasUnsafeCharacters(node.value.replaceAll("\n", ""))) {
        node.type = "QUOTE_DOUBLE";
      }
    },
  });
  return visibleDocument(document.toString({ lineWidth: 0 }));
}

/** Writes and waits until it is on its way, so that a slow reader slows us down. Fails with EPIPE when the reader is gone. */
export function writeTo(stream: Writable, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

/** Prints one value in the wanted format. `value` is JSON; `asTable` makes the text for people and ends with a line break. */
export async function print(format: OutputFormat, value: unknown, asTable: () => string): Promise<void> {
  const texts = { table: asTable, json: () => toJson(value), yaml: () => toYaml(value) };
  await writeTo(process.stdout, texts[format]());
}

/** Prints one of many values as they come: a line of text, a line of JSON, or a YAML document. */
export async function printNext(format: OutputFormat, value: unknown, asLine: () => string): Promise<void> {
  const texts = {
    table: () => `${asLine()}\n`,
    json: () => toJson(value, { isCompact: true }),
    yaml: () => `---\n${toYaml(value)}`,
  };
  await writeTo(process.stdout, texts[format]());
}

/** The width of the terminal; undefined when stdout is none, where nothing is ever cut. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}

/** Tells the person at the keyboard something beside the output, on one line of stderr. */
export function note(text: string): void {
  process.stderr.write(`capstan: ${visibleText(text)}\n`);
}
