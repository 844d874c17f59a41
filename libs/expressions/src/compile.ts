/**
 * An expression as a program that counts its work. The library reads the text (the syntax is CEL's); evaluating is ours, because the
 * library's own evaluation cannot be bounded and tells whole numbers from others, which JSON does not.
 */
import { type ASTNode, Environment, ParseError } from "@marcbachmann/cel-js";
import { ExpressionError } from "./expressionError.ts";
import { type Callable, functions, methods } from "./functions.ts";
import { itemsOf, type Loop, loops } from "./loops.ts";
import { type Operator, operatorOf } from "./operators.ts";
import { assertFieldOfStep, fieldOf, readsStep, stepsCode } from "./paths.ts";
import { type Code, type Compiler, type Program, truth } from "./program.ts";
import { assertFinite, Duration, kindOf, phraseOf, setField } from "./values.ts";

export const maxExpressionLength = 4_096;
const maxDepth = 256;

const reader = new Environment({
  unlistedVariablesAreDyn: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 1_500, maxDepth: 64, maxListElements: 1_000, maxMapEntries: 1_000, maxCallArguments: 8 },
});

/** Throws an ExpressionError for a text that is no expression. */
export function compile(text: string): Program {
  if (text.length > maxExpressionLength) {
    throw new ExpressionError(`is ${text.length} characters long; the limit is ${maxExpressionLength}`);
  }
  if (text.trim() === "") throw new ExpressionError("is empty");
  const compiler: Compiler = {
    text,
    variables: [],
    depth: 0,
    roots: new Map(),
    steps: new Set(),
    anyStep: { seen: false },
  };
  const code = codeOf(astOf(text), compiler);
  return {
    run: (scope, work) => code({ scope, variables: [], work }),
    roots: compiler.roots,
    steps: compiler.steps,
    readsAnyStep: compiler.anyStep.seen,
  };
}

function astOf(text: string): ASTNode {
  try {
    return reader.parse(text).ast;
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    const at = error.range === undefined ? "" : ` at character ${error.range.start + 1}`;
    throw new ExpressionError(`is no expression: ${error.summary}${at}`);
  }
}

function codeOf(node: ASTNode, outer: Compiler): Code {
  const compiler = { ...outer, depth: outer.depth + 1 };
  if (compiler.depth > maxDepth) throw new ExpressionError(`is nested more than ${maxDepth} levels deep`);
  const of = (part: ASTNode): Code => codeOf(part, compiler);
  switch (node.op) {
    case "value":
      return literal(node.args);
    case "id":
      return variable(node, node.args, compiler);
    case ".":
      return access(node, node.args[0], () => node.args[1], node.args[1], compiler);
    case "[]": {
      const [container, key] = node.args;
      const written = key.op === "value" && typeof key.args === "string" ? key.args : null;
      return access(node, container, of(key), written, compiler);
    }
    case "call":
      return call(node.args[0], node.args[1], compiler);
    case "rcall":
      return methodCall(node.args[0], node.args[1], node.args[2], compiler);
    case "list":
      return list(node.args.map(of));
    case "map":
      return object(node.args.map(([key, value]) => [of(key), of(value)]));
    case "?:": {
      const [condition, yes, no] = node.args.map(of) as [Code, Code, Code];
      return (run) => (truth("?", condition, run) ? yes(run) : no(run));
    }
    case "||":
      return logical("||", of(node.args[0]), of(node.args[1]));
    case "&&":
      return logical("&&", of(node.args[0]), of(node.args[1]));
    case "!_": {
      const value = of(node.args);
      return (run) => !truth("!", value, run);
    }
    case "-_":
      return negated(of(node.args));
    default:
      return operation(node, of);
  }
}

function literal(value: unknown): Code {
  if (typeof value === "bigint") {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw new ExpressionError(`has a number that JSON cannot keep: ${value}`);
    return () => number;
  }
  if (typeof value === "object" && value !== null)
    throw new ExpressionError("has a number or a text of a kind that JSON has not");
  return () => value;
}

function variable(node: ASTNode, name: string, { variables, roots, anyStep }: Compiler): Code {
  const slot = variables.lastIndexOf(name);
  if (slot >= 0) {
    return (run) => {
      run.work.spend(1);
      return run.variables[slot];
    };
  }
  if (!roots.has(name)) roots.set(name, node.start);
  if (name === "steps") anyStep.seen = true;
  return (run) => {
    run.work.spend(1);
    return run.scope[name] ?? null;
  };
}

/** `written` is the key when the text says it itself. */
function access(node: ASTNode, container: ASTNode, key: Code, written: string | null, compiler: Compiler): Code {
  const source = compiler.text.slice(node.start, node.end).slice(0, 80);
  assertFieldOfStep(container, written, source, compiler);
  const code = readsStep(container, written, compiler) ? stepsCode : codeOf(container, compiler);
  return (run) => {
    run.work.spend(1);
    const value = code(run);
    const at = key(run);
    const found = fieldOf(value, at, source);
    if (found === undefined) throw new ExpressionError(`reads ${source}, which is not there`);
    return found;
  };
}

function list(items: readonly Code[]): Code {
  return (run) => {
    run.work.spend(1 + items.length);
    return items.map((item) => item(run));
  };
}

function object(entries: readonly (readonly [key: Code, value: Code])[]): Code {
  return (run) => {
    run.work.spend(1 + entries.length);
    const made: Record<string, unknown> = {};
    for (const [keyCode, valueCode] of entries) {
      const key = keyCode(run);
      if (typeof key !== "string") throw new ExpressionError(`has ${phraseOf(key)} as a key; keys are texts`);
      setField(made, key, valueCode(run));
    }
    return made;
  };
}

/** From left to right: the right side is not looked at if the left one decides. */
function logical(name: "&&" | "||", left: Code, right: Code): Code {
  return name === "&&"
    ? (run) => truth(name, left, run) && truth(name, right, run)
    : (run) => truth(name, left, run) || truth(name, right, run);
}

function negated(code: Code): Code {
  return (run) => {
    run.work.spend(1);
    const value = code(run);
    if (typeof value === "number") return assertFinite(-value);
    if (value instanceof Duration) return new Duration(-value.ms);
    throw new ExpressionError(`cannot use - with ${phraseOf(value)}`);
  };
}

function operation(node: ASTNode, of: (part: ASTNode) => Code): Code {
  const operator: Operator | null = operatorOf(node.op);
  if (operator === null) throw new ExpressionError(`uses ${node.op}, which is not part of the language`);
  const [left, right] = (node.args as [ASTNode, ASTNode]).map(of) as [Code, Code];
  return (run) => {
    run.work.spend(1);
    return operator(left(run), right(run), run.work);
  };
}

function call(name: string, args: readonly ASTNode[], compiler: Compiler): Code {
  if (name === "has") return has(args[0], compiler);
  const callable = functions.get(name);
  if (callable === undefined) {
    throw new ExpressionError(
      `calls ${name}(), which there is not; there are has, ${[...functions.keys()].join(", ")}`,
    );
  }
  return called(
    `${name}()`,
    callable,
    args.length,
    args.map((arg) => codeOf(arg, compiler)),
  );
}

function methodCall(name: string, receiver: ASTNode, args: readonly ASTNode[], compiler: Compiler): Code {
  if (name === "bind" && receiver.op === "id" && receiver.args === "cel") return bind(args, compiler);
  const loop = loops.get(name);
  if (loop !== undefined) return loopCode(name, loop, receiver, args, compiler);
  const callable = methods.get(name);
  if (callable === undefined) {
    const known = [...loops.keys(), ...methods.keys()].join(", ");
    throw new ExpressionError(
      name === "matches"
        ? "calls .matches(), which there is not, because a pattern could run for ever; use contains, startsWith, endsWith or split"
        : `calls .${name}(), which there is not; there are ${known}`,
    );
  }
  return called(
    `.${name}()`,
    callable,
    args.length,
    [receiver, ...args].map((arg) => codeOf(arg, compiler)),
  );
}

function called(name: string, { counts, run: of }: Callable, count: number, args: readonly Code[]): Code {
  if (!counts.includes(count)) {
    throw new ExpressionError(`calls ${name} with ${count} arguments; it takes ${counts.join(" or ")}`);
  }
  return (run) => {
    run.work.spend(1 + args.length);
    return of(
      args.map((arg) => arg(run)),
      run.work,
    );
  };
}

/** `has(a.b)`: false also if `a` is not there, so that one call says of a whole path whether it can be read. */
function has(path: ASTNode | undefined, compiler: Compiler): Code {
  if (path === undefined || (path.op !== "." && path.op !== "[]")) {
    throw new ExpressionError("has() needs a path, like has(input.files)");
  }
  const code = pathCode(path, compiler);
  return (run) => code(run) !== undefined;
}

function pathCode(node: ASTNode, compiler: Compiler): Code {
  if (node.op !== "." && node.op !== "[]") return codeOf(node, compiler);
  const [container, part] = node.args;
  const written =
    typeof part === "string" ? part : part.op === "value" && typeof part.args === "string" ? part.args : null;
  assertFieldOfStep(container, written, compiler.text.slice(node.start, node.end).slice(0, 80), compiler);
  const key = typeof part === "string" ? () => part : codeOf(part, compiler);
  const code = readsStep(container, written, compiler) ? stepsCode : pathCode(container, compiler);
  return (run) => {
    run.work.spend(1);
    const value = code(run);
    const kind = kindOf(value);
    if (kind !== "object" && kind !== "list") return undefined;
    const at = key(run);
    if ((kind === "list") !== (typeof at === "number")) return undefined;
    return fieldOf(value, at, "");
  };
}

function bind(args: readonly ASTNode[], compiler: Compiler): Code {
  const [name, value, body] = args;
  if (name?.op !== "id" || value === undefined || body === undefined || args.length !== 3) {
    throw new ExpressionError("cel.bind needs a name, a value and an expression");
  }
  const slot = compiler.variables.length;
  const valueCode = codeOf(value, compiler);
  const bodyCode = codeOf(body, { ...compiler, variables: [...compiler.variables, name.args as string] });
  return (run) => {
    run.work.spend(1);
    run.variables[slot] = valueCode(run);
    return bodyCode(run);
  };
}

function loopCode(
  name: string,
  loop: Loop,
  receiver: ASTNode,
  [iterated, ...bodies]: readonly ASTNode[],
  compiler: Compiler,
): Code {
  if (iterated?.op !== "id" || !loop.counts.includes(bodies.length)) {
    throw new ExpressionError(`.${name}() needs the name of an item and an expression, like .${name}(x, …)`);
  }
  const slot = compiler.variables.length;
  const items = codeOf(receiver, compiler);
  const inner = { ...compiler, variables: [...compiler.variables, iterated.args as string] };
  const codes = bodies.map((body) => codeOf(body, inner));
  return (run) => {
    const each = (item: unknown) => {
      run.work.spend(1);
      run.variables[slot] = item;
    };
    return loop.run(itemsOf(name, items(run), run), each, codes, run);
  };
}
