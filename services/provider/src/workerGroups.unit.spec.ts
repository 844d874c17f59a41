import { expect, test } from "vitest";
import { areSameGroups, checkGroups, inOneForm, sayWorkers, slotsOf, type WorkerGroup } from "./workerGroups.ts";

function group(fields: Partial<WorkerGroup> = {}): WorkerGroup {
  return { handlers: ["resize"], labels: {}, workers: 1, slots: 50, ...fields };
}

test("the same workers make the same groups, in whatever order they are told", () => {
  const a = group({ handlers: ["b", "a", "b"], labels: { zone: "x", gpu: "no" } });
  const b = group({ handlers: ["a", "b"], labels: { gpu: "no", zone: "x" }, workers: 2, slots: 7 });
  const c = group();
  const one = inOneForm([a, b, c]);
  expect(one).toEqual([{ handlers: ["a", "b"], labels: { gpu: "no", zone: "x" }, workers: 3, slots: 57 }, c]);
  expect(JSON.stringify(inOneForm([c, b, a]))).toBe(JSON.stringify(one));
  expect(areSameGroups([c, a, b], one)).toBe(true);
  expect(areSameGroups([c, a], one)).toBe(false);
});

test("labels that every object has are labels, and one that names a prototype is told from none", () => {
  const labels = JSON.parse('{"constructor":"x"}');
  expect(areSameGroups([group({ labels })], [group()])).toBe(false);
});

test("slots are those of all workers, at most what a provider may have", () => {
  expect(slotsOf([])).toBe(0);
  expect(slotsOf([group(), group({ slots: 100 })])).toBe(150);
  expect(slotsOf([group({ slots: 90_000 }), group({ slots: 90_000 })])).toBe(100_000);
});

test("people read how many workers there are and how much they take", () => {
  expect(sayWorkers([])).toBe("no worker is connected");
  expect(sayWorkers([group({ slots: 1 })])).toBe("1 worker, 1 slot");
  expect(sayWorkers([group({ workers: 2, slots: 100 }), group()])).toBe("3 workers, 150 slots");
});

test("every bad field of a group is named", () => {
  expect(checkGroups([group(), group({ labels: { zone: "a" } })])).toEqual([]);
  const bad = group({ handlers: ["ok", "a b"], labels: { "": "x" }, workers: 0, slots: -1 });
  expect(checkGroups([group(), bad]).map(({ field }) => field)).toEqual([
    "groups[1].handlers[1]",
    'groups[1].labels[""]',
    "groups[1].workers",
    "groups[1].slots",
  ]);
  const many = Array.from({ length: 257 }, (_, index) => `h${index}`);
  expect(checkGroups([group({ handlers: many })])).toMatchObject([{ field: "groups[0].handlers" }]);
  for (const handler of ["", "-a", "a-", "ä", "a\n", "a\u0000", "a".repeat(129)]) {
    expect(checkGroups([group({ handlers: [handler] })]), JSON.stringify(handler)).toHaveLength(1);
  }
});
