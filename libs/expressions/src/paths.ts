/** Reading names, fields and items: `input.files[0]`, `steps["build-all"].result`. Only what is an object's own is read. */
import type { ASTNode } from "@marcbachmann/cel-js";
import { ExpressionError } from "./expressionError.ts";
import type { Code, Compiler } from "./program.ts";
import { kindOf, phraseOf, type ValueObject } from "./values.ts";

/** What to say of a name that is not there. */
export function unknownName(text: string, name: string, start: number, known: readonly string[]): string {
  const before = text.slice(0, start).trimEnd().at(-1);
  if (before === "-") {
    return `reads ${name}, which is no name here; a name with "-" in it is written in brackets, like steps["build-all"].result`;
  }
  return `reads ${name}, which is no name here; there are ${known.join(", ")}`;
}

export const stepsCode: Code = ({ scope }) => scope["steps"] ?? null;

/** True for `steps.<name>` and `steps["<name>"]`, which it notes down. */
export function readsStep(container: ASTNode, written: string | null, { variables, roots, steps }: Compiler): boolean {
  if (written === null || container.op !== "id" || container.args !== "steps" || variables.includes("steps")) {
    return false;
  }
  if (!roots.has("steps")) roots.set("steps", container.start);
  steps.add(written);
  return true;
}

/** Tells a field that no step has before anything is evaluated. */
export function assertFieldOfStep(step: ASTNode, field: string | null, source: string, { variables }: Compiler): void {
  if (field === null || field === "state" || field === "result" || (step.op !== "." && step.op !== "[]")) return;
  const [container] = step.args;
  if (container.op === "id" && container.args === "steps" && !variables.includes("steps")) {
    throw new ExpressionError(`reads ${source}; of a step there are only state and result`);
  }
}

/** Undefined if it is not there. A field that is there without a value is null. */
export function fieldOf(value: unknown, key: unknown, source: string): unknown {
  if (Array.isArray(value)) {
    if (typeof key !== "number") throw new ExpressionError(`reads ${source} of a list, whose items are numbered`);
    return Object.hasOwn(value, key) ? (value[key] ?? null) : undefined;
  }
  if (kindOf(value) !== "object") throw new ExpressionError(`reads ${source} of ${phraseOf(value)}`);
  if (typeof key !== "string") throw new ExpressionError(`reads ${source} with a key that is no text`);
  return Object.hasOwn(value as ValueObject, key) ? ((value as ValueObject)[key] ?? null) : undefined;
}
