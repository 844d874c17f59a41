/**
 * How the steps of a job hang together: names, dependencies, hooks, compensation, fan-out, and what expressions read. Everything that is
 * wrong is told at once. A job of one step that has none of this is never looked at here.
 */
import type { ForEach, JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkLine, checkRange, type Refuse } from "./fieldChecks.ts";
import { maxInputBytes, measureJson, notKept } from "./handlerSpec.ts";
import { checkExpressions, checkKeyExpressions } from "./stepExpressions.ts";
import { checkCycles, type Role, type StepGraph } from "./stepGraph.ts";

export const maxSteps = 1_000;
/** Steps and the items of `for_each` together. */
export const maxStepsAndItems = 10_000;

const queueName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** True if the spec is a step and nothing else, as most are. `holdsTemplate` says whether any text of it holds an expression. */
export function isPlain(spec: JobSpec, holdsTemplate: boolean): boolean {
  const [step] = spec.steps;
  return (
    !holdsTemplate &&
    spec.steps.length === 1 &&
    step !== undefined &&
    step.dependsOn.length === 0 &&
    step.when === "" &&
    step.forEach === undefined &&
    step.compensate === "" &&
    step.sleep === undefined &&
    spec.onSuccess.length === 0 &&
    spec.onFailure.length === 0 &&
    spec.onCancel.length === 0
  );
}

/** The fields of a job that any job may have, whether it is plain or not. */
export function checkQueue({ queue, concurrencyKey }: JobSpec, refuse: Refuse): void {
  if (queue !== "" && !queueName.test(queue)) refuse("queue", `must match ${queueName.source}`);
  checkLine(concurrencyKey, "concurrency_key", 256, refuse);
}

/** `bytes` as `measureJson` has measured them. */
export function checkJobInput(bytes: number, refuse: Refuse): void {
  if (bytes === Number.POSITIVE_INFINITY) {
    refuse("input", `is ${notKept}`);
  } else if (bytes > maxInputBytes) refuse("input", `is ${bytes} bytes as JSON; the limit is ${maxInputBytes}`);
}

export function checkWorkflow(spec: JobSpec, refuse: Refuse): void {
  const { steps } = spec;
  const names = steps.map(({ name }) => name || (steps.length === 1 ? "main" : ""));
  const indexOf = checkNames(names, refuse);
  const roles = checkRoles(spec, names, indexOf, refuse);
  const dependencies = steps.map((step, index) => checkDependencies(step, index, { names, indexOf, roles }, refuse));
  const graph: StepGraph = { names, indexOf, roles, dependencies };
  checkCycles(graph, refuse);
  for (const [index, { forEach }] of steps.entries()) {
    if (forEach !== undefined) checkForEach(forEach, (field, text) => refuse(`steps[${index}].for_each${field}`, text));
  }
  checkFanOut(steps, refuse);
  checkExpressions(steps, graph, refuse);
  checkKeyExpressions(spec.concurrencyKey, refuse);
}

/** Where each name is; of a name that stands twice the first. */
function checkNames(names: readonly string[], refuse: Refuse): ReadonlyMap<string, number> {
  const indexOf = new Map<string, number>();
  const folded = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    const field = `steps[${index}].name`;
    if (name === "") {
      refuse(field, "is required in a job of more than one step");
      continue;
    }
    const same = indexOf.get(name);
    const similar = folded.get(name.toLowerCase());
    if (same !== undefined) refuse(field, `is the name of steps[${same}] too`);
    else if (similar !== undefined) refuse(field, `differs from the name of steps[${similar}] only by case`);
    if (same === undefined) indexOf.set(name, index);
    if (similar === undefined) folded.set(name.toLowerCase(), index);
  }
  return indexOf;
}

/** What each step is there for, from the hooks and `compensate`s that name it. */
function checkRoles(
  spec: JobSpec,
  names: readonly string[],
  indexOf: ReadonlyMap<string, number>,
  refuse: Refuse,
): readonly Role[] {
  const roles: Role[] = names.map(() => "main");
  const hooks: readonly (readonly [field: string, names: readonly string[]])[] = [
    ["on_success", spec.onSuccess],
    ["on_failure", spec.onFailure],
    ["on_cancel", spec.onCancel],
  ];
  for (const [field, hookNames] of hooks) {
    for (const [at, name] of hookNames.entries()) {
      const index = indexOf.get(name);
      if (index === undefined) refuse(`${field}[${at}]`, notAStep(name));
      else if (hookNames.indexOf(name) < at) refuse(`${field}[${at}]`, "is named twice");
      else roles[index] = "hook";
    }
  }
  checkCompensations(spec.steps, { names, indexOf, roles }, refuse);
  for (const [index, role] of roles.entries()) if (role !== "main") checkAside(spec.steps[index], index, role, refuse);
  if (names.length > 0 && !roles.includes("main")) {
    refuse("steps", "has only steps of hooks and compensation; nothing would run");
  }
  return roles;
}

/** Gives the steps that undo others their role. */
function checkCompensations(
  steps: readonly StepSpec[],
  { names, indexOf, roles }: { names: readonly string[]; indexOf: ReadonlyMap<string, number>; roles: Role[] },
  refuse: Refuse,
): void {
  const undoes = new Map<number, string>();
  for (const [at, { compensate }] of steps.entries()) {
    if (compensate === "") continue;
    const field = `steps[${at}].compensate`;
    const index = indexOf.get(compensate);
    if (index === undefined) refuse(field, notAStep(compensate));
    else if (index === at) refuse(field, "is the step itself");
    else if (roles[index] === "hook") refuse(field, `${compensate} is a hook; a step cannot be both`);
    else if (undoes.has(index)) refuse(field, `${compensate} undoes ${undoes.get(index)} already`);
    else {
      undoes.set(index, names[at] ?? "");
      roles[index] = "compensation";
    }
  }
}

/** A step that runs only for a hook or to undo another stands outside of the graph. */
function checkAside(step: StepSpec | undefined, index: number, role: Role, refuse: Refuse): void {
  if (step === undefined) return;
  const what = role === "hook" ? "a step that runs as a hook" : "a step that undoes another";
  const given: readonly [field: string, isGiven: boolean][] = [
    ["depends_on", step.dependsOn.length > 0],
    ["for_each", step.forEach !== undefined],
    ["compensate", step.compensate !== ""],
  ];
  for (const [field, isGiven] of given) if (isGiven) refuse(`steps[${index}].${field}`, `cannot be given with ${what}`);
}

function notAStep(name: string): string {
  return `${JSON.stringify(name.slice(0, 64))} is not the name of a step`;
}

/** The indexes of what a step depends on, without what is wrong. */
function checkDependencies(
  { dependsOn }: StepSpec,
  index: number,
  { names, indexOf, roles }: Omit<StepGraph, "dependencies">,
  refuse: Refuse,
): readonly number[] {
  const found = new Set<number>();
  for (const [at, name] of dependsOn.entries()) {
    const field = `steps[${index}].depends_on[${at}]`;
    const other = indexOf.get(name);
    if (other === undefined) refuse(field, notAStep(name));
    else if (other === index) refuse(field, "is the step itself");
    else if (found.has(other)) refuse(field, `${name} is named twice`);
    else if (roles[other] === "main") found.add(other);
    else refuse(field, `${names[other]} runs only ${roles[other] === "hook" ? "as a hook" : "to undo another step"}`);
  }
  return [...found];
}

function checkForEach({ items, expression, maxParallel }: ForEach, refuse: Refuse): void {
  if ((items !== undefined) === (expression !== "")) refuse("", "needs exactly one of items and expression");
  checkRange(maxParallel, ".max_parallel", 0, maxStepsAndItems, refuse);
  if (items === undefined) return;
  if (items.length > maxStepsAndItems) refuse(".items", `has ${items.length} items; the limit is ${maxStepsAndItems}`);
  if (measureJson(items).bytes === Number.POSITIVE_INFINITY) {
    refuse(".items", `is ${notKept}`);
  }
}

function checkFanOut(steps: readonly StepSpec[], refuse: Refuse): void {
  const count = steps.reduce((sum, { forEach }) => sum + 1 + (forEach?.items?.length ?? 0), 0);
  const isToldAlready = steps.some(({ forEach }) => (forEach?.items?.length ?? 0) > maxStepsAndItems);
  if (count > maxStepsAndItems && !isToldAlready) {
    refuse("steps", `come to ${count} with the items of for_each; the limit is ${maxStepsAndItems}`);
  }
}
