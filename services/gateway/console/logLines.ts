/** Output in pieces as lines. Pure. */

export interface LogLine {
  readonly text: string;
  readonly isError: boolean;
}

// Colours and other commands to a terminal, which this page is not.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const terminalCommands = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

/** Bytes that are no text come in base64 as `data`. */
export interface LogChunk {
  readonly stream?: string;
  readonly text?: string;
  readonly data?: string;
}

const encoder = new TextEncoder();

/** Joins chunks to lines; the rest of a line waits for its end. */
export function createLineSplitter(): {
  add(chunk: LogChunk): readonly LogLine[];
  /** What was written without a line break at the end. */
  rest(): readonly LogLine[];
} {
  const decoders = { out: new TextDecoder(), err: new TextDecoder() };
  const open = { out: "", err: "" };
  const lineOf = (text: string, isError: boolean): LogLine => ({
    text: text.replace(/\r$/, "").replaceAll(terminalCommands, ""),
    isError,
  });
  return {
    add({ stream, text, data = "" }) {
      const isError = stream === "stderr";
      const which = isError ? "err" : "out";
      const bytes =
        text === undefined ? Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)) : encoder.encode(text);
      const parts = (open[which] + decoders[which].decode(bytes, { stream: true })).split("\n");
      open[which] = parts.pop() ?? "";
      return parts.map((text) => lineOf(text, isError));
    },
    rest() {
      const left = (["out", "err"] as const).flatMap((which) =>
        open[which] === "" ? [] : [lineOf(open[which], which === "err")],
      );
      open.out = "";
      open.err = "";
      return left;
    },
  };
}

/** The numbers of the lines that hold the text, whatever its letters' size. */
export function findLines(lines: readonly LogLine[], text: string): readonly number[] {
  if (text === "") return [];
  const wanted = text.toLowerCase();
  return lines.flatMap((line, index) => (line.text.toLowerCase().includes(wanted) ? index : []));
}
