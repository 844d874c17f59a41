/**
 * The functions of expressions: `name(x)` and `x.name(…)`. None reads a clock, draws a number or keeps anything. Those that loop over
 * a list with an expression of their own are in `compile.ts`. `matches` is left out: its patterns could run for ever.
 */
import { ExpressionError } from "./expressionError.ts";
import { compare } from "./operators.ts";
import { durationOfText, timeOfText } from "./times.ts";
import { assertFinite, kindOf, phraseOf, textOf, type ValueObject } from "./values.ts";
import { maxTextLength, type Work } from "./work.ts";

export interface Callable {
  /** How many arguments it takes, the value before the dot apart. */
  readonly counts: readonly number[];
  /** Of a method the first argument is the value before the dot. */
  readonly run: (args: readonly unknown[], work: Work) => unknown;
}

const maxRange = 10_000;
const maxSoughtLength = 1_024;

export const functions: ReadonlyMap<string, Callable> = new Map<string, Callable>([
  ["size", { counts: [1], run: ([value], work) => size(value, work) }],
  ["type", { counts: [1], run: ([value]) => kindOf(value) }],
  ["string", { counts: [1], run: ([value], work) => string(value, work) }],
  ["int", { counts: [1], run: ([value], work) => Math.trunc(number("int", value, work)) }],
  ["double", { counts: [1], run: ([value], work) => number("double", value, work) }],
  ["timestamp", { counts: [1], run: ([value], work) => read(timeOfText, value, work) }],
  ["duration", { counts: [1], run: ([value], work) => read(durationOfText, value, work) }],
  ["range", { counts: [1], run: ([value], work) => range(value, work) }],
]);

export const methods: ReadonlyMap<string, Callable> = new Map<string, Callable>([
  ["size", { counts: [0], run: ([value], work) => size(value, work) }],
  // Texts.
  ["contains", ofTexts(1, (text, [part]) => text.includes(part))],
  ["startsWith", ofTexts(1, (text, [part]) => text.startsWith(part))],
  ["endsWith", ofTexts(1, (text, [part]) => text.endsWith(part))],
  ["split", ofTexts(1, (text, [part], work) => spent(text.split(part), work))],
  ["replace", ofTexts(2, replace)],
  ["lowerAscii", ofTexts(0, (text) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase()))],
  ["upperAscii", ofTexts(0, (text) => text.replace(/[a-z]+/g, (part) => part.toUpperCase()))],
  ["trim", ofTexts(0, (text) => text.trim())],
  ["indexOf", ofTexts(1, (text, [part]) => text.indexOf(part))],
  ["lastIndexOf", ofTexts(1, (text, [part]) => text.lastIndexOf(part))],
  ["substring", { counts: [1, 2], run: ([text, from, to], work) => substring(text, from, to, work) }],
  // Lists.
  ["join", { counts: [0, 1], run: ([list, between = ""], work) => join(list, between, work) }],
  ["sum", { counts: [0], run: ([list], work) => numbers("sum", list, work).reduce((a, b) => assertFinite(a + b), 0) }],
  ["min", { counts: [0], run: ([list], work) => extreme("min", list, work) }],
  ["max", { counts: [0], run: ([list], work) => extreme("max", list, work) }],
  ["sort", { counts: [0], run: ([list], work) => sorted(list, work) }],
  ["distinct", { counts: [0], run: ([list], work) => distinct(list, work) }],
  ["flatten", { counts: [0], run: ([list], work) => flatten(list, work) }],
  ["slice", { counts: [2], run: ([list, from, to], work) => slice(list, from, to, work) }],
  // Times, always in UTC.
  ["getFullYear", ofTime((time) => time.getUTCFullYear())],
  ["getMonth", ofTime((time) => time.getUTCMonth())],
  ["getDate", ofTime((time) => time.getUTCDate())],
  ["getDayOfWeek", ofTime((time) => time.getUTCDay())],
  ["getHours", ofTime((time) => time.getUTCHours())],
  ["getMinutes", ofTime((time) => time.getUTCMinutes())],
  ["getSeconds", ofTime((time) => time.getUTCSeconds())],
]);

function size(value: unknown, work: Work): number {
  if (typeof value === "string") {
    work.spend(value.length / 4);
    let count = 0;
    for (const _ of value) count += 1;
    return count;
  }
  if (Array.isArray(value)) return value.length;
  if (kindOf(value) !== "object") throw new ExpressionError(`cannot take the size of ${phraseOf(value)}`);
  const keys = Object.keys(value as ValueObject);
  work.spend(keys.length);
  return keys.length;
}

function string(value: unknown, work: Work): string {
  if (typeof value === "number") return String(value);
  const text = textOf(value, work);
  work.spendText(text.length);
  return text;
}

/** What reading a number or a time takes, against looking at a value. */
const readingUnits = 20;

function number(name: string, value: unknown, work: Work): number {
  if (typeof value === "number") return value;
  work.spend(readingUnits);
  if (typeof value !== "string") throw new ExpressionError(`cannot make a number of ${phraseOf(value)} with ${name}()`);
  if (value.length <= 64 && /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)) return assertFinite(Number(value));
  throw new ExpressionError(`cannot make a number of ${shown(value)} with ${name}()`);
}

function read<T>(of: (value: unknown) => T, value: unknown, work: Work): T {
  work.spend(readingUnits);
  return of(value);
}

function range(value: unknown, work: Work): readonly number[] {
  const count = index("range", value);
  if (count > maxRange) throw new ExpressionError(`cannot make a range of ${count}; the limit is ${maxRange}`);
  work.spend(count);
  return Array.from({ length: count }, (_, at) => at);
}

type TextFunction = (text: string, parts: readonly [string, string], work: Work) => unknown;

/** A method of a text whose arguments are texts too. */
function ofTexts(count: number, of: TextFunction): Callable {
  return {
    counts: [count],
    run: ([text, first = "", second = ""], work) => {
      if (typeof text !== "string" || typeof first !== "string" || typeof second !== "string") {
        const wrong = [text, first, second].find((value) => typeof value !== "string");
        throw new ExpressionError(`needs a text but got ${phraseOf(wrong)}`);
      }
      if (first.length > maxSoughtLength) {
        throw new ExpressionError(`looks for a text of ${first.length} characters; the limit is ${maxSoughtLength}`);
      }
      work.spendText(text.length);
      work.spendSearch(text.length, first.length);
      return of(text, [first, second], work);
    },
  };
}

function replace(text: string, [part, by]: readonly [string, string], work: Work): string {
  if (part === "") throw new ExpressionError("cannot replace an empty text");
  const pieces = spent(text.split(part), work);
  work.spendText(text.length + (pieces.length - 1) * (by.length - part.length));
  return pieces.join(by);
}

function spent<T>(list: readonly T[], work: Work): readonly T[] {
  work.spend(list.length);
  return list;
}

function substring(text: unknown, from: unknown, to: unknown, work: Work): string {
  if (typeof text !== "string") throw new ExpressionError(`substring needs a text but got ${phraseOf(text)}`);
  const start = index("substring", from);
  const end = to === undefined ? text.length : index("substring", to);
  if (start > end || end > text.length) {
    throw new ExpressionError(`substring(${start}, ${end}) is outside of a text of ${text.length} characters`);
  }
  work.spendText(end - start);
  return text.slice(start, end);
}

function join(value: unknown, between: unknown, work: Work): string {
  const list = listFor("join", value, work);
  if (typeof between !== "string") throw new ExpressionError(`join needs a text but got ${phraseOf(between)}`);
  let length = 0;
  const texts = list.map((item) => {
    const text = string(item, work);
    length += text.length + between.length;
    if (length > maxTextLength + between.length) work.spendText(length);
    return text;
  });
  work.spendText(length);
  return texts.join(between);
}

function listFor(name: string, value: unknown, work: Work): readonly unknown[] {
  if (!Array.isArray(value)) throw new ExpressionError(`${name} needs a list but got ${phraseOf(value)}`);
  return spent(value, work);
}

function numbers(name: string, value: unknown, work: Work): readonly number[] {
  return listFor(name, value, work).map((item) => {
    if (typeof item !== "number") throw new ExpressionError(`${name} needs numbers but got ${phraseOf(item)}`);
    return item;
  });
}

function extreme(name: "min" | "max", value: unknown, work: Work): unknown {
  const list = listFor(name, value, work);
  if (list.length === 0) throw new ExpressionError(`${name} needs a list that is not empty`);
  const sign = name === "min" ? 1 : -1;
  return list.reduce((best, item) => (compare(name, item, best, work) * sign < 0 ? item : best));
}

/** Texts and numbers are what is sorted, and much faster by what the engine has for them. */
function sorted(value: unknown, work: Work): readonly unknown[] {
  const list = listFor("sort", value, work);
  work.spend(Math.ceil((list.length * Math.log2(list.length + 1)) / 2));
  if (list.every((item) => typeof item === "number")) return list.toSorted((left, right) => left - right);
  if (list.every((item) => typeof item === "string")) {
    for (const text of list) work.spendText(text.length);
    return list.toSorted();
  }
  return list.toSorted((left, right) => {
    work.spend(2);
    return compare("sort", left, right, work);
  });
}

function distinct(value: unknown, work: Work): readonly unknown[] {
  const list = listFor("distinct", value, work);
  for (const item of list) {
    if (typeof item === "object" && item !== null) {
      throw new ExpressionError(`distinct needs texts, numbers or true and false but got ${phraseOf(item)}`);
    }
    if (typeof item === "string") work.spendText(item.length);
  }
  return [...new Set(list)];
}

function flatten(value: unknown, work: Work): readonly unknown[] {
  return listFor("flatten", value, work).flatMap((item) => listFor("flatten", item, work));
}

function slice(value: unknown, from: unknown, to: unknown, work: Work): readonly unknown[] {
  const list = listFor("slice", value, work);
  return list.slice(index("slice", from), index("slice", to));
}

function index(name: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new ExpressionError(`${name} needs a whole number from 0 but got ${shown(value)}`);
}

function shown(value: unknown): string {
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? JSON.stringify(value.slice(0, 64)) : phraseOf(value);
}

function ofTime(of: (time: Date) => number): Callable {
  return {
    counts: [0],
    run: ([time]) => {
      if (!(time instanceof Date)) {
        throw new ExpressionError(`needs a time but got ${phraseOf(time)}; write timestamp(…) to make one of a text`);
      }
      return of(time);
    },
  };
}
