/** The functions that go over a list with an expression of their own: `list.map(x, …)`. */
import { ExpressionError } from "./expressionError.ts";
import { type Code, type Run, truth } from "./program.ts";
import { kindOf, phraseOf, type ValueObject } from "./values.ts";

/** Goes over a list with the expressions of its call; `each` sets the variable. */
export interface Loop {
  /** How many expressions follow the name of the variable. */
  readonly counts: readonly number[];
  readonly run: (
    items: readonly unknown[],
    each: (item: unknown) => void,
    bodies: readonly Code[],
    run: Run,
  ) => unknown;
}

export const loops: ReadonlyMap<string, Loop> = new Map<string, Loop>([
  [
    "map",
    {
      counts: [1, 2],
      run: (items, each, bodies, run) => {
        const made: unknown[] = [];
        for (const item of items) {
          each(item);
          const [first, second] = bodies as [Code, Code | undefined];
          if (second === undefined) made.push(first(run));
          else if (truth("map", first, run)) made.push(second(run));
        }
        return made;
      },
    },
  ],
  ["filter", { counts: [1], run: (items, each, [body], run) => items.filter(test("filter", each, body, run)) }],
  ["all", { counts: [1], run: (items, each, [body], run) => items.every(test("all", each, body, run)) }],
  ["exists", { counts: [1], run: (items, each, [body], run) => items.some(test("exists", each, body, run)) }],
  [
    "exists_one",
    { counts: [1], run: (items, each, [body], run) => items.filter(test("exists_one", each, body, run)).length === 1 },
  ],
]);

function test(name: string, each: (item: unknown) => void, body: Code | undefined, run: Run) {
  return (item: unknown): boolean => {
    each(item);
    return body !== undefined && truth(name, body, run);
  };
}

/** Of an object its keys, as in CEL. */
export function itemsOf(name: string, value: unknown, { work }: Run): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (kindOf(value) !== "object") throw new ExpressionError(`.${name}() needs a list but got ${phraseOf(value)}`);
  const keys = Object.keys(value as ValueObject);
  work.spend(keys.length);
  return keys;
}
