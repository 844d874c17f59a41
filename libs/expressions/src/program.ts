/** What an expression is compiled to, and what the parts of the compiler share. */
import { ExpressionError } from "./expressionError.ts";
import { phraseOf, type ValueObject } from "./values.ts";
import type { Work } from "./work.ts";

export interface Program {
  /** Throws an ExpressionError. What the scope holds is JSON, and it has all the roots. */
  readonly run: (scope: ValueObject, work: Work) => unknown;
  /** The names it reads from its scope, and where it first does. */
  readonly roots: ReadonlyMap<string, number>;
  /** The steps that it reads by name. */
  readonly steps: ReadonlySet<string>;
  /** True if it reads steps in another way than by a name written down. */
  readonly readsAnyStep: boolean;
}

/** One evaluation. */
export interface Run {
  readonly scope: ValueObject;
  readonly variables: unknown[];
  readonly work: Work;
}

/** A part of an expression, compiled. */
export type Code = (run: Run) => unknown;

/** What is known while an expression is compiled. */
export interface Compiler {
  readonly text: string;
  /** Bound by macros, innermost last; the index is the slot of the value. */
  readonly variables: readonly string[];
  readonly depth: number;
  readonly roots: Map<string, number>;
  readonly steps: Set<string>;
  readonly anyStep: { seen: boolean };
}

/** The value of a part that must be true or false. */
export function truth(where: string, code: Code, run: Run): boolean {
  run.work.spend(1);
  const value = code(run);
  if (typeof value !== "boolean")
    throw new ExpressionError(`needs true or false with ${where} but got ${phraseOf(value)}`);
  return value;
}
