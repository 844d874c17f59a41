/**
 * The expressions of a spec, checked before anything runs: that each can be read, that the names it reads exist there, and that it reads
 * only steps which have ended by then.
 */
import { checkExpression, ExpressionError, splitTemplate } from "@capstan/expressions";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { type Refuse, shownKey } from "./fieldChecks.ts";
import { type Ancestors, ancestorsOf, type StepGraph } from "./stepGraph.ts";
import { isTemplate } from "./stepSpec.ts";

/** In one spec: what reading them costs is bounded with it. */
const maxExpressions = 5_000;

const roots: readonly string[] = ["input", "steps", "job"];
const rootsOfItems: readonly string[] = [...roots, "item", "index"];

/** Gives a field its expressions, or tells why they cannot be told apart. */
interface Found {
  readonly field: string;
  readonly text: string;
  readonly roots: readonly string[];
}

export function checkExpressions(steps: readonly StepSpec[], graph: StepGraph, refuse: Refuse): void {
  const maySee = sightOf(graph);
  let count = 0;
  for (const [index, step] of steps.entries()) {
    const found = expressionsOf(step, `steps[${index}]`, refuse);
    count += found.length;
    if (count > maxExpressions)
      return refuse("steps", `hold more than ${maxExpressions} expressions; that is the limit`);
    for (const { field, text, roots } of found) {
      const checked = checkExpression(text, roots);
      const tell = (problem: string) => refuse(field, `${shown(text)} ${problem}`);
      if (checked.problem !== null) tell(checked.problem);
      for (const name of checked.steps) {
        const problem = maySee(index, name);
        if (problem !== null) tell(problem);
      }
      if (checked.readsAnyStep && graph.roles[index] === "main") {
        tell('reads steps by names that are not written down; write each, like steps["build-all"].result');
      }
    }
  }
}

/** The key is made when the job is accepted: it reads nothing but the input. */
export function checkKeyExpressions(key: string, refuse: Refuse): void {
  if (!isTemplate(key)) return;
  for (const { field, text, roots } of inTemplate(key, "concurrency_key", ["input"], refuse)) {
    const { problem } = checkExpression(text, roots);
    if (problem !== null) refuse(field, `${shown(text)} ${problem}`);
  }
}

function shown(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return `\`${line.length > 100 ? `${line.slice(0, 99)}…` : line}\``;
}

function expressionsOf(step: StepSpec, at: string, refuse: Refuse): readonly Found[] {
  const names = step.forEach === undefined ? roots : rootsOfItems;
  const found: Found[] = [];
  const bare = (text: string | undefined, field: string, roots: readonly string[]) => {
    if (text === undefined || text === "") return;
    if (isTemplate(text)) refuse(`${at}.${field}`, "is an expression as a whole: write it without ${{ }}");
    else found.push({ field: `${at}.${field}`, text, roots });
  };
  const inText = (text: string, field: string) => {
    if (isTemplate(text)) found.push(...inTemplate(text, `${at}.${field}`, names, refuse));
  };
  const inJson = (value: unknown, field: string): void => {
    if (typeof value === "string") inText(value, field);
    else if (Array.isArray(value)) for (const [index, item] of value.entries()) inJson(item, `${field}[${index}]`);
    else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) inJson(item, `${field}[${shownKey(key)}]`);
    }
  };
  bare(step.when, "when", roots);
  bare(step.forEach?.expression, "for_each.expression", roots);
  bare(step.sleep?.expression, "sleep.expression", names);
  for (const [index, text] of step.command.entries()) inText(text, `command[${index}]`);
  for (const [index, text] of step.args.entries()) inText(text, `args[${index}]`);
  for (const [name, text] of Object.entries(step.env)) inText(text, `env[${shownKey(name)}]`);
  inText(step.workingDirectory, "working_directory");
  inText(step.image, "image");
  inJson(step.input, "input");
  inJson(step.subJob?.template?.parameters, "sub_job.template.parameters");
  inText(step.approval?.message ?? "", "approval.message");
  inText(step.signal?.name ?? "", "signal.name");
  return found;
}

function inTemplate(template: string, field: string, roots: readonly string[], refuse: Refuse): readonly Found[] {
  try {
    return splitTemplate(template).flatMap((part) => ("text" in part ? [] : [{ field, text: part.expression, roots }]));
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    refuse(field, error.message);
    return [];
  }
}

/** What keeps a step from reading another by name; null if nothing does. */
function sightOf({ names, indexOf, roles, dependencies }: StepGraph): (index: number, name: string) => string | null {
  let ancestors: Ancestors | null = null;
  return (index, name) => {
    const other = indexOf.get(name);
    if (other === undefined)
      return `reads steps[${JSON.stringify(name.slice(0, 64))}], which is not the name of a step`;
    if (other === index) return "reads the step itself";
    if (roles[index] !== "main") return null;
    if (roles[other] !== "main") return `reads ${names[other]}, which runs only as a hook or to undo another step`;
    ancestors ??= ancestorsOf(dependencies);
    return ancestors(index, other) ? null : `reads ${name} without depending on it; add ${name} to depends_on`;
  };
}
