/**
 * The engine's stream of a container's output: frames of `u8 stream | 3 zero bytes | u32 length, big endian | bytes`.
 *
 * The client library's own reader copies all it holds for every frame, and takes a frame it does not know as text.
 */

import type { OutputSink, OutputStream } from "./backend.ts";

const HEADER_BYTES = 8;
const STDERR = 2;

interface OutputPiece {
  readonly stream: OutputStream;
  readonly bytes: Buffer;
}

/** Bytes per stream; grows while output is delivered. */
export type ByteCounts = Record<OutputStream, number>;

/** Splits chunks as they come. What follows in one stream within a chunk is given as one piece; a frame may end in a later chunk. */
export function createDemultiplexer(): (chunk: Buffer) => readonly OutputPiece[] {
  const header = Buffer.alloc(HEADER_BYTES);
  let headerBytes = 0;
  let left = 0; // of the frame's body
  return (chunk) => {
    const runs: { stream: OutputStream; parts: Buffer[] }[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (left === 0) {
        const taken = chunk.copy(header, headerBytes, at, at + HEADER_BYTES - headerBytes);
        at += taken;
        headerBytes += taken;
        if (headerBytes < HEADER_BYTES) break;
        headerBytes = 0;
        left = header.readUInt32BE(4);
        continue;
      }
      const part = chunk.subarray(at, at + left);
      at += part.length;
      left -= part.length;
      const stream = header[0] === STDERR ? "stderr" : "stdout";
      const last = runs.at(-1);
      if (last?.stream === stream) last.parts.push(part);
      else runs.push({ stream, parts: [part] });
    }
    return runs.map(({ stream, parts }) => ({
      stream,
      bytes: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts),
    }));
  };
}

/**
 * Hands a stream's output to the sink, without what was delivered before, until it ends; then true, or false when it broke.
 * The next chunk is not read before the sink has taken the last.
 */
export async function deliverOutput(
  source: AsyncIterable<Buffer>,
  sink: OutputSink,
  delivered: ByteCounts,
  alreadyDelivered: Readonly<ByteCounts>,
): Promise<boolean> {
  const split = createDemultiplexer();
  const skip = { ...alreadyDelivered };
  try {
    for await (const chunk of source) {
      for (const { stream, bytes } of split(chunk)) {
        const fresh = bytes.subarray(skip[stream]);
        skip[stream] -= bytes.length - fresh.length;
        if (fresh.length === 0) continue;
        delivered[stream] += fresh.length;
        await write(sink, stream, fresh);
      }
    }
    return true;
  } catch {
    return false;
  }
}

/** A sink that fails has lost these bytes, and knows. */
async function write(sink: OutputSink, stream: OutputStream, bytes: Buffer): Promise<void> {
  try {
    await sink.write(stream, bytes);
  } catch {}
}
