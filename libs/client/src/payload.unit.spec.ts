import { Value } from "@capstan/proto/google/protobuf/struct.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maxPayloadBytes, maxPayloadDepth, payloadOf } from "./payload.ts";

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);

describe("payloadOf", () => {
  it("takes 256 KiB as JSON and refuses a byte more, naming both", () => {
    expect(payloadOf("x".repeat(maxPayloadBytes - 2)).problem).toBeNull();
    expect(payloadOf("x".repeat(maxPayloadBytes - 1)).problem).toBe(
      `has ${maxPayloadBytes + 1} bytes as JSON; the limit is ${maxPayloadBytes}`,
    );
  });

  it("counts bytes, not characters", () => {
    expect(payloadOf("€".repeat(maxPayloadBytes / 3)).problem).toContain("the limit is");
  });

  it("takes 24 levels and refuses one more", () => {
    expect(payloadOf(nested(maxPayloadDepth)).problem).toBeNull();
    expect(payloadOf(nested(maxPayloadDepth + 1)).problem).toContain("24 levels");
  });

  it("refuses what is no JSON", () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    for (const value of [1n, cycle, () => 1, Symbol("x")]) expect(payloadOf(value).problem).toContain("is no JSON");
  });

  it("keeps what JSON keeps and nothing else", () => {
    const value = { date: new Date(0), left: undefined, number: Number.NaN };
    expect(payloadOf(value).value).toEqual({ date: "1970-01-01T00:00:00.000Z", number: null });
    expect(payloadOf(undefined)).toEqual({ value: undefined, weight: 0, problem: null });
  });

  it("never weighs less than what goes over the wire", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const { value: kept, weight } = payloadOf(value);
        expect(weight).toBeGreaterThanOrEqual(Value.encode(Value.wrap(kept)).finish().length);
      }),
    );
  });
});
