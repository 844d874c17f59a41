/** The steps of a job as a graph, each with its state. A step is a button that shows it. */
import { html } from "htm/preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { humanWord, plural } from "../format.ts";
import { drawGraph, type Edge, nodeHeight, nodeWidth } from "../graphLayout.ts";
import type { JobSpec, Step, StepSpec } from "../json.ts";
import { toneOf } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Span } from "../ui/time.ts";

/** What a step does, in a word. */
export function kindOf(spec: StepSpec): string {
  if (spec.handler) return "handler";
  if (spec.approval) return "approval";
  if (spec.signal) return "signal";
  if (spec.sleep) return "sleep";
  if (spec.subJob) return "sub-job";
  if (spec.image) return "container";
  return spec.script ? "script" : "command";
}

/** A soft line through the points of an edge. */
function pathOf({ points }: Edge): string {
  const [first, ...rest] = points;
  if (first === undefined) return "";
  let path = `M${first.x} ${first.y}`;
  let from = first;
  for (const [index, to] of rest.entries()) {
    const isLast = index === rest.length - 1;
    const end = isLast
      ? to
      : { x: (to.x + (rest[index + 1]?.x ?? to.x)) / 2, y: (to.y + (rest[index + 1]?.y ?? to.y)) / 2 };
    if (rest.length === 1) {
      const middle = (from.x + to.x) / 2;
      path += ` C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
    } else path += isLast ? ` L${to.x} ${to.y}` : ` Q${to.x} ${to.y} ${end.x} ${end.y}`;
    from = end;
  }
  return path;
}

/** What only runs for an end of the job. */
function roleOf(name: string, spec: JobSpec): string {
  if (spec.onSuccess?.includes(name)) return "on success";
  if (spec.onFailure?.includes(name)) return "on failure";
  if (spec.onCancel?.includes(name)) return "on cancel";
  return spec.steps?.some(({ compensate }) => compensate === name) ? "compensation" : "";
}

function Node({
  step,
  role,
  kind,
  isSelected,
}: {
  step: Step | undefined;
  role: string;
  kind: string;
  isSelected: boolean;
}) {
  const { name = "", state, attempt = 1, items, startTime, endTime } = step ?? {};
  const word = humanWord(state);
  const done = (items?.succeeded ?? 0) + (items?.failed ?? 0);
  const detail = items?.total ? `${done}/${items.total} items` : attempt > 1 ? `${word}, attempt ${attempt}` : word;
  return html`<span class="mark" aria-hidden="true"></span>
    <span class="names"><b>${name}</b><small>${detail} · ${role || kind}</small></span>
    <span class="took">${state !== undefined && !/READY|BLOCKED|SKIPPED/.test(state) && html`<${Span} from=${startTime} to=${endTime} />`}</span>
    ${items?.total ? html`<i class="progress" style=${{ inlineSize: `${(100 * done) / items.total}%` }}></i>` : null}
    ${isSelected && html`<span class="hidden">, shown below</span>`}`;
}

/** `10 steps: 4 succeeded, 1 running`. */
function countsOf(steps: readonly Step[]): string {
  const counts = [...Map.groupBy(steps, ({ state }) => humanWord(state))].map(
    ([word, some]) => `${some.length} ${word}`,
  );
  return `${plural(steps.length, "step")}: ${counts.join(", ")}`;
}

const zooms = [0.3, 0.45, 0.6, 0.8, 1, 1.25] as const;

export function JobGraph({
  spec,
  steps,
  selected,
  onSelect,
}: {
  spec: JobSpec;
  steps: readonly Step[];
  selected: string;
  onSelect: (name: string) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(900);
  const [zoom, setZoom] = useState<number | null>(null);
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => setWidth(Math.round(element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const isWide = width >= 640;
  // A spec never changes.
  const drawing = useMemo(() => drawGraph(spec.steps ?? [], isWide), [spec.steps?.length, spec.name, isWide]);
  const fit = Math.min(1, Math.max(0.85, width / drawing.width));
  const scale = zoom ?? fit;
  const byName = useMemo(() => new Map(steps.map((step) => [step.name ?? "", step])), [steps]);
  const specs = useMemo(() => new Map((spec.steps ?? []).map((each) => [each.name ?? "", each])), [spec]);
  useLayoutEffect(() => {
    box.current?.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [selected]);
  const change = (by: 1 | -1) => {
    const next = by > 0 ? zooms.find((each) => each > scale + 0.01) : zooms.findLast((each) => each < scale - 0.01);
    setZoom(next ?? scale);
  };
  return html`<div class="graph-box">
    <div class="graph" ref=${box} role="group" aria-label=${`The ${steps.length} steps of the job and what they wait for`} tabindex="0">
      <div class="sheet" style=${{ inlineSize: `${drawing.width * scale}px`, blockSize: `${drawing.height * scale}px` }}>
        <div class="plane" style=${{ inlineSize: `${drawing.width}px`, blockSize: `${drawing.height}px`, transform: `scale(${scale})` }}>
          <svg width=${drawing.width} height=${drawing.height} aria-hidden="true">
            ${drawing.edges.map((edge) => {
              const from = byName.get(edge.from)?.state ?? "";
              return html`<path key=${`${edge.from} ${edge.to}`} d=${pathOf(edge)} class=${`edge${edge.isErrand ? " errand" : ""}${/SUCCEEDED|SKIPPED/.test(from) ? " passed" : ""}`} />`;
            })}
          </svg>
          ${drawing.places.map(({ name, x, y }) => {
            const step = byName.get(name);
            return html`<button key=${name} type="button" class=${`node ${toneOf(step?.state)}`} aria-pressed=${name === selected} onClick=${() => onSelect(name)}
              title=${name} style=${{ insetInlineStart: `${x}px`, insetBlockStart: `${y}px`, inlineSize: `${nodeWidth}px`, blockSize: `${nodeHeight}px` }}>
              <${Node} step=${step} role=${roleOf(name, spec)} kind=${kindOf(specs.get(name) ?? {})} isSelected=${name === selected} /></button>`;
          })}
        </div>
      </div>
    </div>
    <div class="graph-foot"><span class="quiet small">${countsOf(steps)}</span><div class="zoom" role="group" aria-label="Size of the drawing">
      <button type="button" class="bare" aria-label="Smaller" onClick=${() => change(-1)}>−</button>
      <button type="button" class="bare" aria-label="Fit" title="Fit" onClick=${() => setZoom(null)}>${Math.round(scale * 100)}%</button>
      <button type="button" class="bare" aria-label="Larger" onClick=${() => change(1)}><${Icon} name="plus" size=${14} /></button>
    </div></div>
  </div>`;
}
