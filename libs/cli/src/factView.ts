/** Facts as lines for people: when, what, about what, and the few values that tell the story. */
import { enumWord } from "./enumWord.ts";
import { visibleText } from "./visibleText.ts";

export interface FactView {
  readonly time: Date | undefined;
  /** CloudEvents type, such as `capstan.job.v1.job.started`. */
  readonly type: string;
  /** Number within its aggregate. */
  readonly sequence: number;
  /** What it happened to; "" where that is clear. */
  readonly aggregateId: string;
  /** JSON of the event's message. */
  readonly data: unknown;
}

/** The values worth a line, in this order; messages about one thing nest it in a field of its name. */
const tellingKeys = [
  "name",
  "providerName",
  "step",
  "attempt",
  "state",
  "stage",
  "health",
  "reason",
  "exitCode",
  "signal",
  "message",
];
const nestedKeys = ["provider", "saga", "queue"];

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function quoteIfNeeded(text: string): string {
  return /^[\w.:/-]+$/.test(text) ? text : JSON.stringify(text);
}

/** `name=x state=RUNNING`: what of a fact's data is worth a line. */
export function tellingValues(data: unknown): string {
  if (!isObject(data)) return "";
  const values = tellingKeys.flatMap((key) => {
    const value = data[key];
    const text = typeof value === "string" ? enumWord(value) : typeof value === "number" ? String(value) : "";
    return text === "" ? [] : [`${key}=${quoteIfNeeded(text)}`];
  });
  const nested = nestedKeys.map((key) => tellingValues(data[key]));
  const { steps } = data;
  const changes = Array.isArray(steps) ? steps.map((step) => `[${tellingValues(step)}]`) : [];
  return [...values, ...nested, ...changes].filter(Boolean).join(" ");
}

/** `capstan.job.v1.step.backed_off` is step.backed_off. */
export function factName(type: string): string {
  return type.split(".").slice(3).join(".") || type;
}

/** One line, safe to print, without a line break. */
export function factLine({ time, type, sequence, aggregateId, data }: FactView): string {
  const clock = time?.toISOString().slice(11, 23) ?? "-";
  const name = factName(type).padEnd(22);
  return visibleText([clock, name, aggregateId, `#${sequence}`, tellingValues(data)].filter(Boolean).join("  "));
}
