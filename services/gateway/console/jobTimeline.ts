/** What each step of a job did when, read from its facts and from those of its attempts. Pure. */
import { enumWord, timeOf } from "./format.ts";
import type { Fact, SagaFact } from "./json.ts";

export interface Segment {
  readonly state: string;
  readonly reason: string;
  readonly message: string;
  readonly attempt: number;
  /** Milliseconds since 1970. */
  readonly begin: number;
  /** Null while it lasts. */
  readonly end: number | null;
}

export interface Row {
  readonly step: string;
  readonly segments: readonly Segment[];
  /** The state it ended in, without prefix; empty while it has not. */
  readonly outcome: string;
}

interface StepChange {
  readonly name?: string;
  readonly state?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly attempt?: number;
}

const terminal = /^(SUCCEEDED|FAILED|CANCELLED|TIMED_OUT|SKIPPED)$/;

interface GrowingRow {
  readonly segments: Segment[];
  outcome: string;
}

/** One row per step that has ever moved, in the order in which they first did. */
export function timelineOf(facts: readonly Fact[], sagaFacts: readonly SagaFact[] = []): readonly Row[] {
  const rows = new Map<string, GrowingRow>();
  const waits = sagaFacts.filter(({ type }) => type?.endsWith(".waiting"));
  let waited = 0;
  for (const fact of facts) {
    const time = timeOf(fact.time);
    for (; waited < waits.length && timeOf(waits[waited]?.time) < time; waited += 1) tellWait(rows, waits[waited]);
    const { steps = [] } = (fact.data ?? {}) as { steps?: readonly StepChange[] };
    for (const change of steps) {
      const row = rows.get(change.name ?? "") ?? { segments: [], outcome: "" };
      rows.set(change.name ?? "", row);
      move(row, change, time);
    }
  }
  for (const wait of waits.slice(waited)) tellWait(rows, wait);
  return [...rows].map(([step, row]) => ({ step, ...row }));
}

/** What waits for a place does so from now on for another reason, which only its attempt knows. */
function tellWait(rows: ReadonlyMap<string, GrowingRow>, wait: SagaFact | undefined): void {
  const saga = wait?.data?.saga;
  const segments = rows.get(saga?.step ?? "")?.segments;
  const last = segments?.at(-1);
  if (segments === undefined || last?.end !== null || last.state !== "READY" || last.attempt !== saga?.attempt) return;
  const time = timeOf(wait?.time);
  segments[segments.length - 1] = { ...last, end: time };
  segments.push({ ...last, reason: enumWord(saga.reason), message: saga.message ?? "", begin: time });
}

function move(row: GrowingRow, change: StepChange, time: number): void {
  const state = enumWord(change.state);
  const last = row.segments.at(-1);
  const [reason, attempt] = [enumWord(change.reason), change.attempt ?? 1];
  // The same state again is the same stretch, such as a READY step that is asked to end.
  if (last?.end === null && last.state === state && last.attempt === attempt) return;
  if (last?.end === null) row.segments[row.segments.length - 1] = { ...last, end: time };
  if (terminal.test(state)) {
    row.outcome = state;
    return;
  }
  row.outcome = "";
  row.segments.push({ state, reason, message: change.message ?? "", attempt, begin: time, end: null });
}

/** From the first fact to the last, or until now while the job lives. */
export function extentOf(facts: readonly Fact[], isOver: boolean, now: number): readonly [begin: number, end: number] {
  const begin = timeOf(facts[0]?.time);
  const end = isOver ? timeOf(facts.at(-1)?.time) : now;
  return Number.isNaN(begin) ? [now, now + 1] : [begin, Math.max(begin + 1, end)];
}
