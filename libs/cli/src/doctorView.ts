/** How the report of `capstan doctor` is shown. */
import { type InvariantName, invariants, type Report } from "@capstan/doctor";
import { formatTable } from "./table.ts";
import { visibleText } from "./visibleText.ts";

/** What became of a repair. */
export type RepairState =
  | { readonly state: "planned" | "done" }
  | { readonly state: "failed"; readonly failure: string };

type Repairs = ReadonlyMap<InvariantName, RepairState>;

const maxShown = 10;

/** The report for programs. */
export function reportJson(report: Report, repairs: Repairs): object {
  return {
    examined: report.examined,
    found: report.broken.map(({ name, findings, isMore }) => {
      const { severity, finding, meaning, advice, repair } = invariants[name];
      return {
        invariant: name,
        severity,
        finding,
        meaning,
        advice,
        refs: findings.map(({ ref }) => ref),
        isMore,
        repair: repair?.does ?? null,
        ...(repairs.has(name) ? { repairState: repairs.get(name) } : {}),
      };
    }),
    unexamined: report.unexamined.map(({ name, why }) => ({ invariant: name, why })),
    silentEngines: report.silentEngines,
  };
}

/** The report for people: what was found, what it means, which rows, and what to do about it. */
export function formatReport(report: Report, repairs: Repairs): string {
  const blocks = report.broken.map(({ name, findings, isMore }) => {
    const { repair, ...invariant } = invariants[name];
    const refs = findings.slice(0, maxShown).map(({ ref }) => ref);
    const found = { ...invariant, name, refs, count: findings.length, isMore };
    return [
      ...violationLines(found, "--output json shows them"),
      ...repairLines(repair?.does, repairs.get(name)),
      ...(isMore && repairs.has(name) ? ["  there is more than was looked at: run it again"] : []),
    ].join("\n");
  });
  const unexamined = report.unexamined.map(({ name, why }) => `not examined: ${name}: ${visibleText(why)}`);
  const sum =
    report.broken.length === 0
      ? `${report.examined} invariants examined, nothing found`
      : `${report.examined} invariants examined, ${report.broken.length} do not hold`;
  return `${[...blocks.map((block) => `${block}\n`), ...unexamined, sum].join("\n")}\n`;
}

/** An invariant that does not hold. */
export interface Violation {
  readonly name: string;
  readonly severity: string;
  readonly finding: string;
  readonly meaning: string;
  readonly advice: string;
  readonly count: number;
  /** There is more than was counted. */
  readonly isMore: boolean;
  /** The first of what breaks it. */
  readonly refs: readonly string[];
}

/** What was found, what it means, where, and what to do; `seeMore` says how to see what is not shown. */
export function violationLines(
  { name, severity, finding, meaning, advice, count, isMore, refs }: Violation,
  seeMore: string,
): readonly string[] {
  const more = count - refs.length;
  return [
    `${severity.toUpperCase()}  ${finding}  (${name}, ${count}${isMore ? " or more" : ""} found)`,
    `  ${meaning}`,
    ...refs.map((ref) => `    ${ref}`),
    ...(more > 0 ? [`    … and ${more} more; ${seeMore}`] : []),
    `  Do: ${advice}`,
  ].map(visibleText);
}

function repairLines(does: string | undefined, state: RepairState | undefined): readonly string[] {
  if (does === undefined) return [];
  if (state === undefined) return [`  --fix ${does}`];
  if (state.state === "failed") return [`  could not repair: ${visibleText(state.failure)}`];
  return [state.state === "done" ? `  repaired: ${does}` : `  would repair: ${does}`];
}

/** All of them in a table. */
export function formatInvariants(names: readonly InvariantName[], maxWidth: number | undefined): string {
  return formatTable(
    names,
    [
      { title: "NAME", cell: (name) => name },
      { title: "SEVERITY", cell: (name) => invariants[name].severity },
      { title: "FIX", cell: (name) => (invariants[name].repair === undefined ? "" : "yes") },
      { title: "WHAT IS FOUND", cell: (name) => invariants[name].finding },
    ],
    maxWidth,
  );
}
