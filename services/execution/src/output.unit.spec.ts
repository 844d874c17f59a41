import fc from "fast-check";
import { expect, test } from "vitest";
import { createOutputReader, maxOutputBytes, maxOutputDepth, type Output } from "./output.ts";

function read(...pieces: readonly (string | Uint8Array)[]): Output {
  const reader = createOutputReader();
  for (const piece of pieces) reader.push(Buffer.from(piece as string));
  return reader.read();
}

test("output without the mark gives nothing back", () => {
  expect(read("hello\n", "CAPSTAN_OUTPU=1\n", " CAPSTAN_OUTPUT=1\n", "x CAPSTAN_OUTPUT=1")).toEqual({ type: "none" });
});

test("the last line with the mark counts", () => {
  expect(read('CAPSTAN_OUTPUT={"a":1}\nmore\nCAPSTAN_OUTPUT=[2]\nbye\n')).toEqual({ type: "json", json: "[2]" });
  expect(read("CAPSTAN_OUTPUT=oops\nCAPSTAN_OUTPUT=3\n")).toEqual({ type: "json", json: "3" });
  expect(read("CAPSTAN_OUTPUT=3\nCAPSTAN_OUTPUT=oops\n")).toEqual({ type: "invalid", problem: "it is not JSON" });
});

test("a line needs no newline at its end, and may have a carriage return", () => {
  expect(read("CAPSTAN_OUTPUT=true")).toEqual({ type: "json", json: "true" });
  expect(read("CAPSTAN_OUTPUT=null\r\n")).toEqual({ type: "json", json: "null" });
});

test("an empty value and bytes that are no UTF-8 are not JSON", () => {
  expect(read("CAPSTAN_OUTPUT=\n")).toEqual({ type: "invalid", problem: "it is not JSON" });
  expect(read("CAPSTAN_OUTPUT=", new Uint8Array([0x22, 0xff, 0x22]))).toMatchObject({ type: "invalid" });
});

test("a value at the limit is taken, one beyond it is not, also when it only grows by being written again", () => {
  const atLimit = JSON.stringify("x".repeat(maxOutputBytes - 2));
  expect(read(`CAPSTAN_OUTPUT=${atLimit}\n`)).toEqual({ type: "json", json: atLimit });
  const problem = "it is larger than 256 KiB";
  expect(read(`CAPSTAN_OUTPUT=${atLimit} \n`)).toEqual({ type: "invalid", problem });
  expect(read(`CAPSTAN_OUTPUT=[${"1e20,".repeat(20_000)}1]`)).toEqual({ type: "invalid", problem });
});

test("a value nested too deeply is refused", () => {
  const nested = (levels: number) => `CAPSTAN_OUTPUT=${"[".repeat(levels)}${"]".repeat(levels)}`;
  expect(read(nested(maxOutputDepth)).type).toBe("json");
  expect(read(nested(maxOutputDepth + 1)).type).toBe("invalid");
  expect(read(nested(100_000)).type).toBe("invalid");
});

test("however the bytes are cut, the same is read", () => {
  const line = fc.oneof(
    fc.json().map((json) => `CAPSTAN_OUTPUT=${json}\n`),
    fc.constantFrom("CAPSTAN_OUTPUT=", "CAPSTAN_OUT\n", "\n", "CAPSTAN_OUTPUT={\n", "ümlaut\n"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), (lines, cuts) => {
      const bytes = Buffer.from(lines.join(""));
      const at = [...new Set([0, bytes.length, ...cuts.map((cut) => cut % (bytes.length + 1))])].sort((a, b) => a - b);
      const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
      expect(read(...pieces)).toEqual(read(bytes));
    }),
  );
});
