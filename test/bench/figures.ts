/** What was measured: each figure's value in every run, and the tables made of them. */

interface Figure {
  readonly unit: string;
  readonly values: number[];
}

export interface Figures {
  /** One run's value; said on stderr as it comes. */
  note(name: string, unit: string, value: number): void;
  /** By name, as they were first noted. */
  readonly all: ReadonlyMap<string, Figure>;
}

export function createFigures(system: string): Figures {
  const all = new Map<string, Figure>();
  return {
    all,
    note(name, unit, value) {
      const figure = all.get(name) ?? { unit, values: [] };
      figure.values.push(value);
      all.set(name, figure);
      process.stderr.write(`  ${system}: ${name}: ${written(value)} ${unit}\n`);
    },
  };
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** Medians and ranges of one system. */
export function tableOf(figures: Figures): string {
  const rows = [...figures.all].map(
    ([name, { unit, values }]) => `| ${name} | ${middleOf(values)} ${unit} | ${rangeOf(values)} |`,
  );
  return ["| figure | median | range |", "|---|---|---|", ...rows].join("\n");
}

/** The figures that the peers have, each system in a column. */
export function comparisonOf(systems: ReadonlyMap<string, Figures>): string {
  const names = [...systems].filter(([, { all }]) => all.size > 0).map(([name]) => name);
  const peers = names.slice(1).flatMap((name) => [...(systems.get(name)?.all.keys() ?? [])]);
  const rows = [...new Set(peers)].map((figure) => {
    const cells = names.map((name) => cellOf(systems.get(name)?.all.get(figure)));
    return `| ${figure} | ${cells.join(" | ")} |`;
  });
  return [`| figure | ${names.join(" | ")} |`, `|---|${"---|".repeat(names.length)}`, ...rows].join("\n");
}

function cellOf(figure: Figure | undefined): string {
  return figure === undefined ? "–" : `${middleOf(figure.values)} ${figure.unit} (${rangeOf(figure.values)})`;
}

const middleOf = (values: readonly number[]) => written(percentile(values, 0.5));
const rangeOf = (values: readonly number[]) => `${written(Math.min(...values))} – ${written(Math.max(...values))}`;

function written(value: number): string {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}
