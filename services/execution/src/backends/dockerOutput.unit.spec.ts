import fc from "fast-check";
import { expect, test } from "vitest";
import type { OutputStream } from "./backend.ts";
import { createDemultiplexer, deliverOutput } from "./dockerOutput.ts";

/** One frame as the engine sends it. */
function engineFrame(stream: OutputStream, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream === "stdout" ? 1 : 2;
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const length of [...lengths, bytes.length]) {
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

const anyStream = fc.constantFrom<OutputStream[]>("stdout", "stderr");
const anyFrames = fc.array(fc.tuple(anyStream, fc.uint8Array({ maxLength: 40 })), { maxLength: 10 });
const anyCuts = fc.array(fc.nat(30), { maxLength: 20 });

function contentOf(frames: readonly (readonly [OutputStream, Uint8Array])[], stream: OutputStream): Buffer {
  return Buffer.concat(frames.filter(([of]) => of === stream).map(([, bytes]) => bytes));
}

test("each stream keeps its bytes and their order, however the connection cuts them", () => {
  fc.assert(
    fc.property(anyFrames, anyCuts, (frames, cuts) => {
      const split = createDemultiplexer();
      const bytes = Buffer.concat(frames.map(([stream, content]) => engineFrame(stream, content)));
      const pieces = cut(bytes, cuts)
        .flatMap(split)
        .map(({ stream, bytes: piece }) => [stream, piece] as const);
      for (const stream of ["stdout", "stderr"] as const) {
        expect(contentOf(pieces, stream)).toEqual(contentOf(frames, stream));
      }
    }),
  );
});

test("what was delivered before is left out, per stream and to the byte", async () => {
  await fc.assert(
    fc.asyncProperty(anyFrames, anyCuts, fc.nat(100), fc.nat(100), async (frames, cuts, stdout, stderr) => {
      const kept: [OutputStream, Uint8Array][] = [];
      const bytes = Buffer.concat(frames.map(([stream, content]) => engineFrame(stream, content)));
      const delivered = { stdout, stderr };
      const isWhole = await deliverOutput(
        stream(cut(bytes, cuts)),
        { write: (of, chunk) => void kept.push([of, chunk]) },
        delivered,
        { stdout, stderr },
      );
      expect(isWhole).toBe(true);
      expect(contentOf(kept, "stdout")).toEqual(contentOf(frames, "stdout").subarray(stdout));
      expect(contentOf(kept, "stderr")).toEqual(contentOf(frames, "stderr").subarray(stderr));
      expect(delivered.stdout).toBe(Math.max(stdout, contentOf(frames, "stdout").length));
    }),
  );
});

test("a connection that breaks is told, and what came before is delivered", async () => {
  const kept: string[] = [];
  async function* broken() {
    yield engineFrame("stdout", Buffer.from("before"));
    throw new Error("reset");
  }
  const delivered = { stdout: 0, stderr: 0 };
  const sink = { write: (_: OutputStream, bytes: Uint8Array) => void kept.push(Buffer.from(bytes).toString()) };
  expect(await deliverOutput(broken(), sink, delivered, { stdout: 0, stderr: 0 })).toBe(false);
  expect([kept, delivered]).toEqual([["before"], { stdout: 6, stderr: 0 }]);
});

async function* stream(chunks: readonly Buffer[]) {
  yield* chunks;
}
