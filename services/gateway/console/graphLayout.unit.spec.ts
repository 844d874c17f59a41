import fc from "fast-check";
import { expect, test } from "vitest";
import { byLayers, drawGraph, linksOf, nodeHeight, nodeWidth } from "./graphLayout.ts";

const diamond = [
  { name: "a" },
  { name: "b", dependsOn: ["a"] },
  { name: "c", dependsOn: ["a", "nobody"], compensate: "undo" },
  { name: "d", dependsOn: ["b", "c"] },
  { name: "undo" },
];

test("what depends on a step stands after it, and what undoes one is drawn as an errand", () => {
  const { places, edges } = drawGraph(diamond, true);
  const x = (name: string) => places.find((place) => place.name === name)?.x ?? Number.NaN;
  expect(x("a")).toBeLessThan(x("b"));
  expect(x("c")).toBeLessThan(x("d"));
  expect(edges.filter(({ isErrand }) => isErrand)).toMatchObject([{ from: "c", to: "undo" }]);
  expect(edges.every(({ points }) => points.length >= 2)).toBe(true);
});

test("a large graph is drawn in layers in no time, no two steps over each other, each after what it waits for", () => {
  const graph = fc.array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 121, maxLength: 400 });
  fc.assert(
    fc.property(graph, fc.boolean(), (shape, isWide) => {
      const steps = shape.map((before, index) => ({
        name: `s${index}`,
        dependsOn: index === 0 ? [] : before.map((at) => `s${at % index}`),
      }));
      const { places, edges, width, height } = drawGraph(steps, isWide);
      const cells = new Set(places.map(({ x, y }) => `${x} ${y}`));
      expect(cells.size).toBe(steps.length);
      for (const { x, y } of places) expect(x + nodeWidth <= width && y + nodeHeight <= height).toBe(true);
      const byName = new Map(places.map((place) => [place.name, place]));
      for (const { from, to } of edges) {
        const [one, other] = [byName.get(from), byName.get(to)];
        expect(isWide ? (one?.x ?? 0) < (other?.x ?? 0) : (one?.y ?? 0) < (other?.y ?? 0)).toBe(true);
      }
    }),
    { numRuns: 20 },
  );
});

test("a circle that was typed and not checked yet is drawn all the same", () => {
  const steps = [
    { name: "a", dependsOn: ["b"] },
    { name: "b", dependsOn: ["a"] },
  ];
  expect(byLayers(["a", "b"], linksOf(steps), true).places).toHaveLength(2);
});
