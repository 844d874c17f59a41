/** Checking and evaluating a text. A text is compiled once and kept, since the same few are evaluated for each job of a kind. */
import { compile, maxExpressionLength } from "./compile.ts";
import { ExpressionError } from "./expressionError.ts";
import { unknownName } from "./paths.ts";
import type { Program } from "./program.ts";
import { jsonOf, type ValueObject } from "./values.ts";
import { Work } from "./work.ts";

interface CheckedExpression {
  /** Null if it is good. */
  readonly problem: string | null;
  /** The steps it reads by name. */
  readonly steps: readonly string[];
  /** True if it reads steps in another way, so that it may read all of them. */
  readonly readsAnyStep: boolean;
}

/** Of all texts that are kept; a program takes some 50 bytes for each of its characters. */
const maxKeptLength = 64 * maxExpressionLength;
const programs = new Map<string, Program>();
let keptLength = 0;

/** What is wrong with an expression that may read the names `roots`, and which steps it reads. */
export function checkExpression(text: string, roots: readonly string[]): CheckedExpression {
  try {
    const program = programOf(text);
    const unknown = [...program.roots].find(([name]) => !roots.includes(name));
    return {
      problem: unknown === undefined ? null : unknownName(text, unknown[0], unknown[1], roots),
      steps: [...program.steps],
      readsAnyStep: program.readsAnyStep,
    };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return { problem: error.message, steps: [], readsAnyStep: false };
  }
}

/**
 * The value of an expression as JSON, over names whose values are JSON. The same text over the same values always gives the same. Throws
 * an ExpressionError, also for one that takes too much work or gives more than 256 KiB.
 */
export function evaluate(text: string, scope: ValueObject, work = new Work()): unknown {
  const program = programOf(text);
  for (const [name, start] of program.roots) {
    if (!Object.hasOwn(scope, name)) throw new ExpressionError(unknownName(text, name, start, Object.keys(scope)));
  }
  return jsonOf(program.run(scope, work));
}

function programOf(text: string): Program {
  const kept = programs.get(text);
  if (kept !== undefined) return kept;
  const program = compile(text);
  programs.set(text, program);
  keptLength += text.length;
  for (const oldest of programs.keys()) {
    if (keptLength <= maxKeptLength) break;
    programs.delete(oldest);
    keptLength -= oldest.length;
  }
  return program;
}
