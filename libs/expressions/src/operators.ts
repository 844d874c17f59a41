/** The operators over two values. Each takes one kind of value on both sides and says so otherwise; nothing is converted silently. */
import { ExpressionError } from "./expressionError.ts";
import { assertFinite, Duration, isEqual, kindOf, phraseOf, type ValueObject } from "./values.ts";
import type { Work } from "./work.ts";

export type Operator = (left: unknown, right: unknown, work: Work) => unknown;

/** Null if there is no such operator. */
export function operatorOf(name: string): Operator | null {
  return operators.get(name) ?? null;
}

const operators: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ["==", isEqual],
  ["!=", (left, right, work) => !isEqual(left, right, work)],
  ["<", (left, right, work) => compare("<", left, right, work) < 0],
  ["<=", (left, right, work) => compare("<=", left, right, work) <= 0],
  [">", (left, right, work) => compare(">", left, right, work) > 0],
  [">=", (left, right, work) => compare(">=", left, right, work) >= 0],
  ["in", isIn],
  ["+", add],
  ["-", subtract],
  ["*", (left, right) => arithmetic("*", left, right, (a, b) => a * b)],
  ["/", (left, right) => arithmetic("/", left, right, (a, b) => a / divisor(b))],
  ["%", (left, right) => arithmetic("%", left, right, (a, b) => a % divisor(b))],
]);

function add(left: unknown, right: unknown, work: Work): unknown {
  if (typeof left === "string" && typeof right === "string") {
    work.spendText(left.length + right.length);
    return left + right;
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    work.spend(left.length + right.length);
    return [...left, ...right];
  }
  if (left instanceof Duration && right instanceof Duration) return new Duration(assertFinite(left.ms + right.ms));
  if (left instanceof Date && right instanceof Duration) return timeOf(left.getTime() + right.ms);
  if (left instanceof Duration && right instanceof Date) return timeOf(right.getTime() + left.ms);
  return arithmetic("+", left, right, (a, b) => a + b);
}

function subtract(left: unknown, right: unknown): unknown {
  if (left instanceof Duration && right instanceof Duration) return new Duration(assertFinite(left.ms - right.ms));
  if (left instanceof Date && right instanceof Duration) return timeOf(left.getTime() - right.ms);
  if (left instanceof Date && right instanceof Date) return new Duration(left.getTime() - right.getTime());
  return arithmetic("-", left, right, (a, b) => a - b);
}

function arithmetic(name: string, left: unknown, right: unknown, of: (a: number, b: number) => number): number {
  if (typeof left === "number" && typeof right === "number") return assertFinite(of(left, right));
  const hint =
    name === "+" && (typeof left === "string" || typeof right === "string") ? "; write string(…) to make a text" : "";
  throw new ExpressionError(`cannot use ${name} with ${phraseOf(left)} and ${phraseOf(right)}${hint}`);
}

function divisor(value: number): number {
  if (value === 0) throw new ExpressionError("divides by zero");
  return value;
}

/** From year 1 to 9999, which is what RFC 3339 can say. */
export function timeOf(ms: number): Date {
  if (!(ms >= -62_135_596_800_000 && ms <= 253_402_300_799_999)) {
    throw new ExpressionError("gives a time before the year 1 or after the year 9999");
  }
  return new Date(ms);
}

/** Below, equal or above 0. `false` is less than `true`; texts are compared by their UTF-16 units. */
export function compare(name: string, left: unknown, right: unknown, work: Work): number {
  if (typeof left === "number" && typeof right === "number") return left - right;
  const kind = kindOf(left);
  if (kind !== kindOf(right) || kind === "null" || kind === "list" || kind === "object") {
    throw new ExpressionError(`cannot use ${name} with ${phraseOf(left)} and ${phraseOf(right)}`);
  }
  if (typeof left === "string" && typeof right === "string") {
    work.spendText(Math.min(left.length, right.length));
    return left === right ? 0 : left < right ? -1 : 1;
  }
  return orderOf(left) - orderOf(right);
}

function orderOf(value: unknown): number {
  return value instanceof Duration ? value.ms : Number(value);
}

function isIn(item: unknown, container: unknown, work: Work): boolean {
  if (Array.isArray(container)) return container.some((candidate) => isEqual(item, candidate, work));
  if (kindOf(container) !== "object") {
    throw new ExpressionError(`cannot use in with ${phraseOf(container)}; it needs a list or an object`);
  }
  if (typeof item !== "string") throw new ExpressionError("cannot use in with an object and a key that is no text");
  return Object.hasOwn(container as ValueObject, item);
}
