import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createLogCount } from "./logTotals.ts";

const bytes = (text: string) => Buffer.from(text);

test("a log nobody wrote to has the checksum of nothing", () => {
  expect(createLogCount(100).totals(false)).toEqual({
    stdoutBytes: 0,
    stderrBytes: 0,
    lines: 0,
    droppedBytes: 0,
    sha256: createHash("sha256").digest("hex"),
    hasGap: false,
  });
});

test("lines are counted per stream, a last one without newline too", () => {
  const count = createLogCount(100);
  count.add("stdout", bytes("one\ntwo"));
  count.add("stderr", bytes("warn\n"));
  count.add("stdout", bytes(" still two\nthree"));
  expect(count.totals(false).lines).toBe(4);
});

test("beyond the cap bytes are dropped and counted", () => {
  const count = createLogCount(8);
  expect(count.add("stdout", bytes("12345"))).toBe(5);
  expect(count.add("stderr", bytes("67890"))).toBe(3);
  expect(count.add("stdout", bytes("x"))).toBe(0);
  const { stdoutBytes, stderrBytes, droppedBytes, sha256 } = count.totals(true);
  expect({ stdoutBytes, stderrBytes, droppedBytes }).toEqual({ stdoutBytes: 5, stderrBytes: 3, droppedBytes: 3 });
  expect(sha256).toBe(createHash("sha256").update("12345678").digest("hex"));
});

test("however the bytes come, nothing is lost: stored and dropped add up", () => {
  const pieces = fc.array(fc.tuple(fc.constantFrom("stdout" as const, "stderr" as const), fc.uint8Array()));
  fc.assert(
    fc.property(pieces, fc.nat(200), (written, cap) => {
      const count = createLogCount(cap);
      const kept = written.map(([stream, piece]) => piece.subarray(0, count.add(stream, piece)));
      const totals = count.totals(false);
      const all = written.reduce((sum, [, piece]) => sum + piece.length, 0);
      expect(totals.stdoutBytes + totals.stderrBytes).toBe(Math.min(cap, all));
      expect(totals.droppedBytes).toBe(Math.max(0, all - cap));
      expect(totals.sha256).toBe(createHash("sha256").update(Buffer.concat(kept)).digest("hex"));
    }),
  );
});
