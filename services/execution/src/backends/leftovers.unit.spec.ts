import { describe, expect, test } from "vitest";
import { findLeftovers, type Main, type Scene } from "./leftovers.ts";
import type { Mark, ProcessEntry } from "./processTable.ts";

const spawner = 2;

function entry(pid: number, part: Partial<ProcessEntry> = {}): ProcessEntry {
  return { pid, parent: 1, group: pid, session: pid, startTicks: 100, isDead: false, ...part };
}

function main(pid: number, hasEnded: boolean, startTicks = 100): Main {
  return { pid, executionId: `execution-${pid}`, startTicks, hasEnded };
}

function find(part: Partial<Scene>, marks: Record<number, Mark> = {}): Record<number, string> {
  const found = findLeftovers({
    processes: [],
    mains: [],
    bystanders: new Set([1, spawner]),
    isContained: false,
    readMark: (pid) => marks[pid] ?? null,
    isOurs: (runner) => runner === "ours",
    ...part,
  });
  return Object.fromEntries(found);
}

const ours = (executionId: string): Mark => ({ runner: "ours", executionId });

describe("what an ended execution has left behind", () => {
  test("is what shares its group or its session", () => {
    const processes = [entry(11, { group: 10 }), entry(12, { session: 10 }), entry(13)];
    expect(find({ processes, mains: [main(10, true)] })).toEqual({ 11: "execution-10", 12: "execution-10" });
  });

  test("is what descends from that, whatever session it made for itself", () => {
    const processes = [entry(13, { parent: 12 }), entry(12, { parent: 11 }), entry(11, { group: 10 })];
    expect(Object.keys(find({ processes, mains: [main(10, true)] }))).toEqual(["11", "12", "13"]);
  });

  test("is what carries its mark, when its parents are gone", () => {
    const processes = [entry(11), entry(12)];
    const marks = { 11: ours("execution-10"), 12: ours("execution-20") };
    const mains = [main(10, true), main(20, false)];
    expect(find({ processes, mains }, marks)).toEqual({ 11: "execution-10" });
  });

  test("is what carries a mark of ours that no execution answers to", () => {
    expect(find({ processes: [entry(11)] }, { 11: ours("forgotten") })).toEqual({ 11: "forgotten" });
  });
});

describe("what is let live", () => {
  test("the processes of a live execution, also those that double-forked", () => {
    const processes = [entry(10), entry(11, { group: 10 }), entry(12)];
    expect(find({ processes, mains: [main(10, false)] }, { 12: ours("execution-10") })).toEqual({});
  });

  test("another runner's processes, whose runner may live", () => {
    const marks = { 11: { runner: "another", executionId: "execution-10" } };
    expect(find({ processes: [entry(11)], mains: [main(10, true)] }, marks)).toEqual({});
  });

  test("ourselves and the dead", () => {
    const processes = [entry(1), entry(spawner, { group: 10 }), entry(11, { group: 10, isDead: true })];
    expect(find({ processes, mains: [main(10, true)], isContained: true })).toEqual({});
  });

  test("processes without a mark, where they may be anybody's", () => {
    expect(find({ processes: [entry(11)], mains: [main(10, true)] })).toEqual({});
  });
});

describe("a process without a mark where all are ours", () => {
  const processes = [entry(11, { startTicks: 200 })];

  test("lives while an execution lives that was there at its birth", () => {
    const mains = [main(10, true, 100), main(20, false, 150)];
    expect(find({ processes, mains, isContained: true })).toEqual({});
  });

  test("goes when all of them are over, whoever came later", () => {
    const mains = [main(10, true, 100), main(20, false, 300)];
    expect(find({ processes, mains, isContained: true })).toEqual({ 11: "" });
  });
});

test("a picture in which parents go round in a circle is no trap", () => {
  const processes = [entry(11, { parent: 12 }), entry(12, { parent: 11 })];
  expect(find({ processes, mains: [main(10, true)] })).toEqual({});
});
