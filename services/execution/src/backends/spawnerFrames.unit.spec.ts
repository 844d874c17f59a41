import fc from "fast-check";
import { expect, test } from "vitest";
import { frame, frameReader, numberFrame, type Order, readStart, START, startFrame } from "./spawnerFrames.ts";

/** Feeds the bytes in pieces of the given lengths and gives back what came out. */
function read(bytes: Buffer, lengths: readonly number[]): [number, number, string][] {
  const frames: [number, number, string][] = [];
  const feed = frameReader((kind, number, body) => frames.push([kind, number, body.toString("latin1")]));
  let at = 0;
  for (const length of [...lengths, bytes.length]) {
    feed(bytes.subarray(at, at + length));
    at += length;
  }
  return frames;
}

test("frames come out as they went in, however the stream cuts them", () => {
  const anyFrame = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.nat(), fc.uint8Array({ maxLength: 50 }));
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 8 }), fc.array(fc.nat(40), { maxLength: 20 }), (frames, lengths) => {
      const bytes = Buffer.concat(frames.flatMap(([kind, number, body]) => frame(kind, number, body)));
      const expected = frames.map(([kind, number, body]) => [kind, number, Buffer.from(body).toString("latin1")]);
      expect(read(bytes, lengths)).toEqual(expected);
    }),
  );
});

test("a start keeps every byte of its order and its stdin", () => {
  const env = JSON.parse('{"__proto__": "kept", "NAME": "ü\\u0000"}') as Record<string, string>;
  const order: Order = {
    executionId: "e",
    argv: ["printf", "%s", "ü"],
    script: { content: "echo", index: 1 },
    env,
    workingDirectory: null,
    hasStdin: true,
  };
  const [header, ...body] = startFrame(3, order, Buffer.from([0, 255, 10]));
  expect(header?.[4]).toBe(START);
  const start = readStart(Buffer.concat(body));
  expect(start.order).toEqual(order);
  expect(Object.keys(start.order.env)).toEqual(["__proto__", "NAME"]);
  expect([...start.stdin]).toEqual([0, 255, 10]);
});

test("a number keeps its value up to four bytes", () => {
  const [, body] = numberFrame(1, 2, 0xfffffffe);
  expect(Buffer.from(body as Uint8Array).readUInt32LE()).toBe(0xfffffffe);
});
