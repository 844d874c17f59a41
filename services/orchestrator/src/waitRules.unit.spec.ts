import { expect, test } from "vitest";
import type { WaitRule } from "./queue.ts";
import { rulesDue } from "./waitRules.ts";

const rule = (reason: string | null, seconds: number, action: WaitRule["action"]): WaitRule => ({
  ...{ reason, afterMs: seconds * 1_000, action, providerKind: action === "MOVE" ? "docker" : "" },
});
const rules = [rule("NO_CAPACITY", 10, "MOVE"), rule(null, 20, "NOTIFY"), rule(null, 60, "FAIL")];
const at = (seconds: number, reason: string, done: readonly string[] = []) =>
  rulesDue(rules, { reason, waitedMs: seconds * 1_000, done });

test("a rule is followed once its time has come, for its reason only", () => {
  expect(at(5, "NO_CAPACITY")).toEqual({ due: [], nextMs: 5_000 });
  expect(at(12, "NO_CAPACITY")).toEqual({ due: [rules[0]], nextMs: 8_000 });
  expect(at(12, "QUEUE_PAUSED")).toEqual({ due: [], nextMs: 8_000 });
});

test("one whose reason comes up after its time is followed then, and none twice", () => {
  expect(at(25, "QUEUE_PAUSED", ["ANY NOTIFY"])).toEqual({ due: [], nextMs: 15_000 });
  expect(at(25, "NO_CAPACITY", ["ANY NOTIFY"]).due).toEqual([rules[0]]);
  expect(at(25, "NO_CAPACITY", ["ANY NOTIFY", "NO_CAPACITY MOVE"])).toEqual({ due: [], nextMs: 35_000 });
});

test("failing it is the last that is done, and moving it is left out then", () => {
  expect(at(61, "NO_CAPACITY")).toEqual({ due: [rules[1], rules[2]], nextMs: null });
  expect(rulesDue([], { reason: "QUEUED", waitedMs: 1, done: [] })).toEqual({ due: [], nextMs: null });
});
