/**
 * Finds what a workload gives back: a line `CAPSTAN_OUTPUT=<json>` on its standard output. The last such line counts. Lines
 * come in pieces; only a candidate line is ever kept, and never more of it than its limit.
 */

/** Of the JSON as the workload wrote it and as it is stored; a fact must hold it. */
export const maxOutputBytes = 256 * 1024;
/** Lists and objects in each other. Protobuf readers give up at 100 messages, and a level is up to three of them. */
export const maxOutputDepth = 24;

/** What was given back. `json` is compact and within the limits; `problem` is for people. */
export type Output =
  | { readonly type: "none" }
  | { readonly type: "json"; readonly json: string }
  | { readonly type: "invalid"; readonly problem: string };

export interface OutputReader {
  /** The next piece of standard output; cut anywhere. */
  push(bytes: Uint8Array): void;
  /** What the last line that began with the mark says, whether or not it was ended. */
  read(): Output;
}

const mark = Buffer.from("CAPSTAN_OUTPUT=");
const newline = 10;
const tooBig: Output = { type: "invalid", problem: `it is larger than ${maxOutputBytes / 1024} KiB` };

export function createOutputReader(): OutputReader {
  let last: Uint8Array | "too big" | null = null;
  // The line at hand: how much of the mark it has matched (-1: it is another line), and what came after the mark.
  let matched = 0;
  let kept: Uint8Array[] = [];
  let keptBytes = 0;

  function takePiece(piece: Uint8Array): void {
    let from = 0;
    while (matched >= 0 && matched < mark.length && from < piece.length) {
      matched = piece[from++] === mark[matched] ? matched + 1 : -1;
    }
    if (matched !== mark.length || from === piece.length) return;
    keptBytes += piece.length - from;
    if (keptBytes > maxOutputBytes) kept = [];
    else kept.push(piece.slice(from));
  }

  function valueSoFar(): typeof last {
    if (matched !== mark.length) return last;
    return keptBytes > maxOutputBytes ? "too big" : Buffer.concat(kept);
  }

  function endLine(): void {
    last = valueSoFar();
    matched = 0;
    kept = [];
    keptBytes = 0;
  }

  return {
    push(bytes) {
      let from = 0;
      for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, from)) {
        takePiece(bytes.subarray(from, end));
        endLine();
        from = end + 1;
      }
      takePiece(bytes.subarray(from));
    },
    read() {
      const value = valueSoFar();
      if (value === null) return { type: "none" };
      return value === "too big" ? tooBig : parse(value);
    },
  };
}

function parse(bytes: Uint8Array): Output {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return { type: "invalid", problem: "it is not JSON" };
  }
  if (isDeeperThan(value, maxOutputDepth)) {
    return { type: "invalid", problem: `it is nested deeper than ${maxOutputDepth} levels` };
  }
  // Numbers may grow when they are written again: 1e20 becomes 21 digits.
  const json = JSON.stringify(value);
  return Buffer.byteLength(json) > maxOutputBytes ? tooBig : { type: "json", json };
}

export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}
