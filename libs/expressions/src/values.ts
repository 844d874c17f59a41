/**
 * The values of expressions: those of JSON, and times and durations, which become texts in a result. There is one kind of number,
 * JSON's. Objects come from users: their fields are read only if they are their own.
 */
import { ExpressionError } from "./expressionError.ts";
import type { Work } from "./work.ts";

export const maxResultBytes = 256 * 1024;
/** Lists and objects in each other, as in the inputs of handlers. */
export const maxResultDepth = 24;

export class Duration {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

export type ValueObject = Readonly<Record<string, unknown>>;

export type Kind = "null" | "boolean" | "number" | "text" | "list" | "object" | "time" | "duration";

export function kindOf(value: unknown): Kind {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return "text";
  if (typeof value === "number") return "number";
  if (typeof value === "boolean") return "boolean";
  if (Array.isArray(value)) return "list";
  if (value instanceof Date) return "time";
  if (value instanceof Duration) return "duration";
  if (typeof value === "object") return "object";
  throw new ExpressionError(`cannot work with a value that JSON does not have`);
}

const phrases: Readonly<Record<Kind, string>> = {
  null: "null",
  boolean: "true or false",
  number: "a number",
  text: "a text",
  list: "a list",
  object: "an object",
  time: "a time",
  duration: "a duration",
};

/** As it may stand in a sentence: "a list". */
export function phraseOf(value: unknown): string {
  return phrases[kindOf(value)];
}

/** Sets a field as data, whatever it is called. */
export function setField(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  } else object[key] = value;
}

export function assertFinite(value: number): number {
  if (!Number.isFinite(value)) throw new ExpressionError("gives a number that JSON cannot say");
  return value;
}

/** Deep, and false for values of different kinds. */
export function isEqual(left: unknown, right: unknown, work: Work): boolean {
  work.spend(1);
  if (left === right) return true;
  if (typeof left === "string") {
    if (typeof right === "string" && left.length === right.length) work.spendText(left.length);
    return false;
  }
  if (typeof left !== "object" || typeof right !== "object") return false;
  const kind = kindOf(left);
  if (kind !== kindOf(right)) return false;
  switch (kind) {
    case "list":
      return isEqualList(left as readonly unknown[], right as readonly unknown[], work);
    case "object":
      return isEqualObject(left as ValueObject, right as ValueObject, work);
    case "time":
      return (left as Date).getTime() === (right as Date).getTime();
    case "duration":
      return (left as Duration).ms === (right as Duration).ms;
    default:
      return true;
  }
}

function isEqualList(left: readonly unknown[], right: readonly unknown[], work: Work): boolean {
  return left.length === right.length && left.every((item, index) => isEqual(item, right[index], work));
}

function isEqualObject(left: ValueObject, right: ValueObject, work: Work): boolean {
  const keys = Object.keys(left);
  work.spend(keys.length);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && isEqual(left[key], right[key], work));
}

/** As JSON has it. What only seems small because its parts are shared is told by the length it has when written out. */
export function jsonOf(value: unknown): unknown {
  return jsonPart(value, { left: maxResultBytes, parts: 0 }, maxResultDepth);
}

/** Text as it is, everything else as JSON. */
export function textOf(value: unknown, work: Work): string {
  if (typeof value === "string") return value;
  const budget = { left: maxResultBytes, parts: 0 };
  const json = jsonPart(value, budget, maxResultDepth);
  // Writing a part down takes some times as long as looking at it. It is known afterwards only, but never many.
  work.spend(budget.parts * 4);
  return typeof json === "string" ? json : JSON.stringify(json);
}

interface Budget {
  left: number;
  parts: number;
}

function jsonPart(value: unknown, budget: Budget, levels: number): unknown {
  switch (kindOf(value)) {
    case "null":
      take(budget, 4);
      return null;
    case "text":
      take(budget, jsonLength(value as string, budget.left));
      return value;
    case "number":
      take(budget, String(assertFinite(value as number)).length);
      return value;
    case "boolean":
      take(budget, 5);
      return value;
    case "time":
      take(budget, 26);
      return (value as Date).toISOString();
    case "duration":
      take(budget, 20);
      return `${(value as Duration).ms / 1_000}s`;
    case "list":
      take(budget, 2);
      return listOf(value as readonly unknown[], budget, deeper(levels));
    default:
      take(budget, 2);
      return objectOf(value as ValueObject, budget, deeper(levels));
  }
}

/** The very list if nothing in it had to be changed: most results are taken from what was given. */
function listOf(list: readonly unknown[], budget: Budget, levels: number): readonly unknown[] {
  let copy: unknown[] | null = null;
  for (const [index, item] of list.entries()) {
    take(budget, 1);
    const part = jsonPart(item, budget, levels);
    if (part !== item) {
      copy ??= list.slice();
      copy[index] = part;
    }
  }
  return copy ?? list;
}

function objectOf(object: ValueObject, budget: Budget, levels: number): ValueObject {
  let copy: Record<string, unknown> | null = null;
  for (const [key, item] of Object.entries(object)) {
    take(budget, 2 + jsonLength(key, budget.left));
    const part = jsonPart(item, budget, levels);
    if (part !== item) {
      copy ??= { ...object };
      setField(copy, key, part);
    }
  }
  return copy ?? object;
}

/** Of a text that is written as it is, or of which this is known, without writing it. */
function jsonLength(text: string, limit: number): number {
  if (text.length > limit) return text.length;
  return plain.test(text) ? text.length + 2 : Buffer.byteLength(JSON.stringify(text));
}

const plain = /^[ !#-[\]-~]*$/;

function take(budget: Budget, bytes: number): void {
  budget.parts += 1;
  budget.left -= bytes;
  if (budget.left < 0) throw new ExpressionError(`gives more than ${maxResultBytes} bytes of JSON; that is the limit`);
}

function deeper(levels: number): number {
  if (levels === 0) throw new ExpressionError(`gives lists or objects more than ${maxResultDepth} levels deep`);
  return levels - 1;
}
