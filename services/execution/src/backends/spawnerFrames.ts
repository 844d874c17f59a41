/**
 * What the process backend and its spawner say to each other: frames on one socket, binary safe, many to a write.
 *
 * A frame is `u32 length of the body | u8 kind | u32 number | body`, little endian. The number is the backend's own short
 * name for an execution; it is never used twice on one link.
 */

import type { StartRefusedReason } from "./backend.ts";

/** From the backend: start (body: {@link Order} and stdin), stop (u32 graceMs), acknowledge (u32 output bytes consumed), ping. */
export const START = 1;
export const STOP = 2;
export const ACKNOWLEDGE = 3;
export const PING = 4;
/** From the spawner: one of the first three answers START; READY comes once, before anything else. */
export const STARTED = 16;
export const REFUSED = 17;
export const UNAVAILABLE = 18;
export const STDOUT = 19;
export const STDERR = 20;
export const EXITED = 21;
export const READY = 22;
export const PONG = 23;

/** Output bytes of one execution that may be on their way at once. Beyond them its pipes are not read, so that it waits. */
export const OUTPUT_WINDOW = 256 * 1024;

/** What the spawner needs to start an execution. */
export interface Order {
  readonly executionId: string;
  readonly argv: readonly string[];
  /** Written to a file whose path is put into argv at this index; removed after the execution. */
  readonly script: { readonly content: string; readonly index: number } | null;
  /** HOME is added when missing: the execution's own directory. */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute; null is the execution's own directory. */
  readonly workingDirectory: string | null;
  readonly hasStdin: boolean;
}

/** Bodies of the spawner's answers, as JSON. Times are milliseconds since 1970. */
export interface StartedBody {
  readonly pid: number;
  readonly startTime: number;
}
export interface RefusedBody {
  readonly reason: StartRefusedReason;
  readonly message: string;
}
export interface UnavailableBody {
  readonly message: string;
}
export interface ExitedBody {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly endTime: number;
}

const HEADER_BYTES = 9;

/** The pieces of one frame; the body is not copied. */
export function frame(kind: number, number: number, ...body: readonly Uint8Array[]): readonly Uint8Array[] {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32LE(
    body.reduce((sum, part) => sum + part.length, 0),
    0,
  );
  header.writeUInt8(kind, 4);
  header.writeUInt32LE(number, 5);
  return [header, ...body];
}

export function jsonFrame(
  kind: number,
  number: number,
  body: StartedBody | RefusedBody | UnavailableBody | ExitedBody,
): readonly Uint8Array[] {
  return frame(kind, number, Buffer.from(JSON.stringify(body)));
}

export function numberFrame(kind: number, number: number, value: number): readonly Uint8Array[] {
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32LE(value);
  return frame(kind, number, body);
}

/** START's body: `u32 length of the order | order as JSON | stdin`. */
export function startFrame(number: number, order: Order, stdin: Uint8Array | null): readonly Uint8Array[] {
  const json = Buffer.from(JSON.stringify(order));
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32LE(json.length);
  return frame(START, number, length, json, ...(stdin === null ? [] : [stdin]));
}

/** Reads START's body; stdin is a view of it. */
export function readStart(body: Buffer): { readonly order: Order; readonly stdin: Buffer } {
  const end = 4 + body.readUInt32LE(0);
  return { order: JSON.parse(body.toString("utf8", 4, end)) as Order, stdin: body.subarray(end) };
}

/** Takes the stream's chunks as they come and hands on whole frames. A body is a view, good only during the call. */
export function frameReader(onFrame: (kind: number, number: number, body: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const end = at + HEADER_BYTES + bytes.readUInt32LE(at);
      if (end > bytes.length) break;
      onFrame(bytes.readUInt8(at + 4), bytes.readUInt32LE(at + 5), bytes.subarray(at + HEADER_BYTES, end));
      at = end;
    }
    rest = bytes.subarray(at);
  };
}

/** Sends frames with one system call for all that are made in the same turn of the event loop. */
export function frameWriter(socket: {
  write(bytes: Uint8Array): boolean;
  cork(): void;
  uncork(): void;
}): (frame: readonly Uint8Array[]) => void {
  let isCorked = false;
  return (parts) => {
    if (!isCorked) {
      isCorked = true;
      socket.cork();
      setImmediate(() => {
        isCorked = false;
        socket.uncork();
      });
    }
    for (const part of parts) socket.write(part);
  };
}
