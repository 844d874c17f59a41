/** Where each step of a job is drawn. A layout library does it well up to some size, and takes seconds above it; then plain layers do. */
import { Graph, layout } from "@dagrejs/dagre";
import type { StepSpec } from "./json.ts";

export interface Place {
  readonly name: string;
  /** Of its upper left corner, in pixels. */
  readonly x: number;
  readonly y: number;
}

export interface Edge {
  readonly from: string;
  readonly to: string;
  /** What undoes another step, or runs only for an end of the job. */
  readonly isErrand: boolean;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

interface Drawing {
  readonly places: readonly Place[];
  readonly edges: readonly Edge[];
  readonly width: number;
  readonly height: number;
}

export const nodeWidth = 180;
export const nodeHeight = 54;
const gap = { across: 18, along: 46, margin: 12 } as const;
/** Measured: 2 s for 300 steps with two predecessors each; 120 take less than 0.2 s. */
const mostForLibrary = 120;

type Link = Pick<Edge, "from" | "to" | "isErrand">;

/** Every "before" of the spec. */
export function linksOf(steps: readonly StepSpec[]): readonly Link[] {
  const names = new Set(steps.map(({ name }) => name));
  return steps.flatMap(({ name = "", dependsOn = [], compensate = "" }) => [
    ...dependsOn.filter((from) => names.has(from)).map((from) => ({ from, to: name, isErrand: false })),
    ...(names.has(compensate) ? [{ from: name, to: compensate, isErrand: true }] : []),
  ]);
}

/** `isWide`: from left to right; otherwise from top to bottom. */
export function drawGraph(steps: readonly StepSpec[], isWide: boolean): Drawing {
  const links = linksOf(steps);
  const names = steps.map(({ name = "" }) => name);
  return steps.length <= mostForLibrary && links.length <= 2 * mostForLibrary
    ? byLibrary(names, links, isWide)
    : byLayers(names, links, isWide);
}

function byLibrary(names: readonly string[], links: readonly Link[], isWide: boolean): Drawing {
  const graph = new Graph();
  graph.setGraph({
    rankdir: isWide ? "LR" : "TB",
    nodesep: gap.across,
    ranksep: isWide ? gap.along : gap.along * 0.6,
    marginx: gap.margin,
    marginy: gap.margin,
  });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const name of names) graph.setNode(name, { width: nodeWidth, height: nodeHeight });
  for (const { from, to } of links) graph.setEdge(from, to);
  layout(graph);
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  const at = (name: string) => graph.node(name) as { x: number; y: number };
  return {
    places: names.map((name) => ({ name, x: at(name).x - nodeWidth / 2, y: at(name).y - nodeHeight / 2 })),
    edges: links.map((link) => ({
      ...link,
      points: (graph.edge(link.from, link.to) as { points: Edge["points"] }).points,
    })),
    width,
    height,
  };
}

/** The longest way to each step is its layer; within it, steps stand in the order of what they depend on. */
export function byLayers(names: readonly string[], links: readonly Link[], isWide: boolean): Drawing {
  const before = Map.groupBy(links, ({ to }) => to);
  const layerOf = new Map<string, number>();
  // The platform has refused circles, but what is typed in a form is drawn before it is checked.
  function layer(name: string, under: ReadonlySet<string> = new Set()): number {
    const known = layerOf.get(name);
    if (known !== undefined) return known;
    const inner = new Set(under).add(name);
    const above = (before.get(name) ?? []).filter(({ from }) => !inner.has(from));
    const own = above.length === 0 ? 0 : 1 + Math.max(...above.map(({ from }) => layer(from, inner)));
    layerOf.set(name, own);
    return own;
  }
  const layers = Map.groupBy(names, (name) => layer(name));
  const slot = new Map<string, number>();
  for (const depth of [...layers.keys()].sort((one, other) => one - other)) {
    const wanted = (name: string) => {
      const above = (before.get(name) ?? []).flatMap(({ from }) => slot.get(from) ?? []);
      return above.length === 0 ? 0 : above.reduce((sum, each) => sum + each, 0) / above.length;
    };
    const sorted = (layers.get(depth) ?? []).toSorted((one, other) => wanted(one) - wanted(other));
    for (const [index, name] of sorted.entries()) slot.set(name, index);
  }
  const pitch = isWide
    ? { along: nodeWidth + gap.along, across: nodeHeight + gap.across }
    : { along: nodeHeight + gap.along, across: nodeWidth + gap.across };
  const places = names.map((name) => {
    const along = gap.margin + (layerOf.get(name) ?? 0) * pitch.along;
    const across = gap.margin + (slot.get(name) ?? 0) * pitch.across;
    return isWide ? { name, x: along, y: across } : { name, x: across, y: along };
  });
  const byName = new Map(places.map((place) => [place.name, place]));
  const edges = links.map((link) => ({
    ...link,
    points: straight(byName.get(link.from), byName.get(link.to), isWide),
  }));
  return {
    places,
    edges,
    width: Math.max(0, ...places.map(({ x }) => x)) + nodeWidth + gap.margin,
    height: Math.max(0, ...places.map(({ y }) => y)) + nodeHeight + gap.margin,
  };
}

function straight(from: Place | undefined, to: Place | undefined, isWide: boolean): Edge["points"] {
  if (from === undefined || to === undefined) return [];
  return isWide
    ? [
        { x: from.x + nodeWidth, y: from.y + nodeHeight / 2 },
        { x: to.x, y: to.y + nodeHeight / 2 },
      ]
    : [
        { x: from.x + nodeWidth / 2, y: from.y + nodeHeight },
        { x: to.x + nodeWidth / 2, y: to.y },
      ];
}
