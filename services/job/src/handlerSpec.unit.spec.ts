import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { describe, expect, it } from "vitest";
import { maxInputBytes, maxInputDepth } from "./handlerSpec.ts";
import { checkSpec, completeSpec, maxSpecBytes, maxSpecJsonBytes } from "./jobSpec.ts";

const now = new Date("2026-01-01T00:00:00Z");

function aSpec(step: object = {}, fields: object = {}): JobSpec {
  return JobSpec.fromPartial({ name: "hello", steps: [{ handler: "resize", ...step }], ...fields });
}

const violationsOf = (step: object, fields: object = {}) => checkSpec(aSpec(step, fields), "spec", now);
const fieldsOf = (step: object) => violationsOf(step).map(({ field }) => field.replace("spec.steps[0].", ""));
/** A string that is so many bytes as JSON. */
const textOf = (bytes: number) => "x".repeat(bytes - 2);
const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);

describe("a step with a handler", () => {
  it("is good by itself, with an input, and with what holds for any step", () => {
    expect(fieldsOf({})).toEqual([]);
    expect(fieldsOf({ input: { url: "https://example.com/a.png" } })).toEqual([]);
    const seconds = { seconds: 60, nanos: 0 };
    const common = {
      placement: { provider: "images" },
      retry: { maxAttempts: 3 },
      runTimeout: seconds,
      stopGrace: seconds,
    };
    expect(fieldsOf({ ...common, resources: { slots: 1 } })).toEqual([]);
    const [step] = completeSpec(aSpec({ input: [1] })).steps;
    expect(step).toMatchObject({ name: "main", handler: "resize", input: [1], resources: { slots: 1 } });
    expect(checkSpec(completeSpec(aSpec()), "spec", now)).toEqual([]);
  });

  it("has no command, script or image", () => {
    expect(fieldsOf({ command: ["true"] })).toEqual(["command"]);
    expect(fieldsOf({ script: { content: "true" } })).toEqual(["script"]);
    expect(fieldsOf({ image: "busybox", command: ["true"] })).toEqual(["command", "image"]);
    expect(violationsOf({ image: "busybox" })[0]?.description).toBe("cannot be given together with handler");
  });

  it("is told at once of everything that has no meaning in a worker, and why", () => {
    const step = {
      args: ["a"],
      env: { A: "b" },
      workingDirectory: "/tmp",
      stdin: Buffer.from("a"),
      network: "NETWORK_BRIDGE",
      resources: { cpuMillis: 100, memoryMib: 64, slots: 2 },
    };
    expect(fieldsOf(step)).toEqual([
      "args",
      "env",
      "working_directory",
      "stdin",
      "network",
      "resources.cpu_millis",
      "resources.memory_mib",
      "resources.slots",
    ]);
    const descriptions = violationsOf(step).map(({ description }) => description);
    expect(descriptions.at(0)).toBe("cannot be given with a handler: it runs in a worker that is there already");
    expect(descriptions.at(-1)).toBe("is 2; a handler takes exactly 1 slot of its worker");
  });

  it.each(["a", "A.b_c-9", "x".repeat(128)])("may name %s", (handler) => {
    expect(fieldsOf({ handler })).toEqual([]);
  });
  it.each(["-a", "a-", ".a", "a b", "a/b", "ä", "a\n", "a\0", "x".repeat(129)])("may not name %j", (handler) => {
    expect(fieldsOf({ handler })).toEqual(["handler"]);
  });
});

describe("an input", () => {
  it("needs a handler", () => {
    const [violation, ...others] = violationsOf({ handler: "", command: ["true"], input: 1 });
    expect(violation).toEqual({ field: "spec.steps[0].input", description: "needs a handler" });
    expect(others).toEqual([]);
  });

  it("is measured as JSON in UTF-8 and refused by name with the limit", () => {
    expect(fieldsOf({ input: textOf(maxInputBytes) })).toEqual([]);
    expect(violationsOf({ input: textOf(maxInputBytes + 1) })).toEqual([
      { field: "spec.steps[0].input", description: "is 262145 bytes as JSON; the limit is 262144" },
    ]);
    expect(fieldsOf({ input: "é".repeat(maxInputBytes / 2) })).toEqual(["input"]);
    expect(fieldsOf({ input: "\u0001".repeat(maxInputBytes / 6 + 1) })).toEqual(["input"]);
  });

  it("that is far too large is still told with every other bad field", () => {
    expect(fieldsOf({ handler: "a b", input: textOf(3_000_000) })).toEqual(["handler", "input"]);
  });

  it("may be nested as deep as a result, and has only numbers that JSON can say", () => {
    expect(fieldsOf({ input: nested(maxInputDepth) })).toEqual([]);
    expect(fieldsOf({ input: nested(maxInputDepth + 1) })).toEqual(["input"]);
    expect(fieldsOf({ input: nested(4_000) })).toEqual(["input"]);
    expect(fieldsOf({ input: { a: [Number.NaN] } })).toEqual(["input"]);
  });

  it("does not count for the limit of the encoded spec, but for that of its JSON", () => {
    const annotations = (bytes: number) => ({
      annotations: Object.fromEntries(Array.from({ length: bytes / 4_000 }, (_, n) => [`k${n}`, "x".repeat(4_000)])),
    });
    expect(violationsOf({ input: textOf(maxInputBytes) }, annotations(100_000))).toEqual([]);
    expect(violationsOf({ input: textOf(maxInputBytes) }, annotations(160_000))).toMatchObject([
      { field: "spec", description: expect.stringMatching(`bytes as JSON; the limit is ${maxSpecJsonBytes}`) },
    ]);
    expect(violationsOf({ handler: "a".repeat(maxSpecBytes), input: 1 })).toMatchObject([
      { field: "spec", description: expect.stringMatching(`bytes; the limit is ${maxSpecBytes}`) },
    ]);
  });
});
