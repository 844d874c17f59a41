/** Small charts drawn as SVG: bars over time, and bars of how full something is. Each says in words what it shows. */
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { formatClock, formatCount } from "../format.ts";
import type { Tone } from "./chip.ts";

/** What is stacked, from the bottom. */
export interface Series {
  readonly name: string;
  readonly tone: Tone;
}

interface Bucket {
  /** When it begins. */
  readonly time: string;
  /** One count per series. */
  readonly counts: readonly number[];
}

const height = 140;
const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);

/** The least of 1, 2, 5, 10, 20 … that is not below. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value) ?? value;
}

/** Bars over time, one per bucket, the series stacked in them. */
export function Bars({
  label,
  series,
  buckets,
}: {
  label: string;
  series: readonly Series[];
  buckets: readonly Bucket[];
}) {
  const [at, setAt] = useState<number | null>(null);
  const top = roundUp(Math.max(1, ...buckets.map(({ counts }) => total(counts))));
  const width = 100 / Math.max(1, buckets.length);
  const shown = at === null ? undefined : buckets[at];
  const sums = series.map((_, index) => total(buckets.map(({ counts }) => counts[index] ?? 0)));
  const words = series.map(({ name }, index) => `${formatCount(sums[index] ?? 0)} ${name}`).join(", ");
  return html`<figure class="chart" role="img" aria-label=${`${label}: ${words}`}>
    <div class="plot">
      <span class="axis top">${formatCount(top)}</span>
      <svg viewBox=${`0 0 100 ${height}`} preserveAspectRatio="none" aria-hidden="true" onMouseLeave=${() => setAt(null)}
        onMouseMove=${(event: MouseEvent) => {
          const box = (event.currentTarget as Element).getBoundingClientRect();
          setAt(
            Math.min(
              buckets.length - 1,
              Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * buckets.length)),
            ),
          );
        }}>
        <line x1="0" x2="100" y1="0.5" y2="0.5" class="grid" /><line x1="0" x2="100" y1=${height / 2} y2=${height / 2} class="grid" />
        ${buckets.map(({ time, counts }, index) => {
          let y = height;
          return html`<g key=${time} class=${index === at ? "pointed" : ""}>
            <rect x=${index * width} y="0" width=${width} height=${height} class="hit" />
            ${counts.map((count, each) => {
              const size = (count / top) * (height - 2);
              y -= size;
              return (
                count > 0 &&
                html`<rect key=${each} class=${`bar ${series[each]?.tone}`} x=${index * width + width * 0.14} y=${y} width=${width * 0.72} height=${size} />`
              );
            })}
          </g>`;
        })}
        <line x1="0" x2="100" y1=${height - 0.5} y2=${height - 0.5} class="base" />
      </svg>
    </div>
    <div class="times" aria-hidden="true"><span>${formatClock(buckets[0]?.time)}</span><span>now</span></div>
    <figcaption>
      ${shown !== undefined ? html`<b class="number">${formatClock(shown.time)}</b>` : null}
      ${series.map(({ name, tone }, index) => html`<span key=${name} class="key"><i class=${`swatch ${tone}`}></i>${name} <b class="number">${formatCount(shown?.counts[index] ?? sums[index] ?? 0)}</b></span>`)}
    </figcaption>
  </figure>`;
}

/** One figure, with what it is above and what it is of below; leads somewhere if it has an address. */
export function Tile({
  title,
  value,
  note,
  href,
  tone = "",
}: {
  title: string;
  value: string;
  note: ComponentChildren;
  href?: string;
  tone?: string;
}) {
  const inner = html`<span class="quiet small">${title}</span><b class="figure number">${value}</b><span class="quiet small">${note || "\u00a0"}</span>`;
  return href === undefined
    ? html`<div class=${`tile ${tone}`}>${inner}</div>`
    : html`<a class=${`tile ${tone}`} href=${href}>${inner}</a>`;
}

/** How much of something is in use: `3 of 8 slots`. */
export function Meter({ label, used, of, unit = "" }: { label: string; used: number; of: number; unit?: string }) {
  const share = of <= 0 ? 0 : Math.min(1, used / of);
  const words =
    of <= 0 ? `${formatCount(used)} ${unit}, not counted` : `${formatCount(used)} of ${formatCount(of)} ${unit}`;
  return html`<div class="meter" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${Math.max(of, used)} aria-valuenow=${used} aria-valuetext=${words}>
    <div class="bar"><i class=${share >= 1 ? "full" : share >= 0.8 ? "high" : ""} style=${{ inlineSize: `${share * 100}%` }}></i></div>
    <span class="number">${words}</span>
  </div>`;
}
