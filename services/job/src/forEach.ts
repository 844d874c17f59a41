/**
 * A step that runs once for each item of a list. The items are steps themselves, `<step>.<index>`; the step is RUNNING as long as one
 * of them has not ended, and then succeeds with the list of what they gave back, or fails with the first of them that did.
 */

import { beginStep, counted } from "./beginStep.ts";
import { isStepTerminal, type Step, type StepState } from "./job.ts";
import type { Pass } from "./pass.ts";
import type { PlannedStep } from "./plan.ts";
import { itemsOf, type Scope } from "./renderStep.ts";
import { maxStepsAndItems } from "./workflowSpec.ts";

/** A list of results, as JSON. */
export const maxListBytes = 1024 * 1024;

/** Writes the items of a step that was reached, and begins as many as may run at once. Throws ExpressionError. */
export function beginItems(pass: Pass, planned: PlannedStep, step: Step): void {
  const values = valuesOf(pass, planned);
  const total = pass.size() + values.length;
  if (total > maxStepsAndItems) {
    const message = `for_each: its ${values.length} items make ${total} steps and items; the limit of a job is ${maxStepsAndItems}`;
    pass.move(step, "failed", { reason: "EXPRESSION_FAILED", message });
    return;
  }
  const parent = pass.move(step, "started", { startTime: pass.now });
  for (const index of values.keys()) pass.put(itemOf(parent, index));
  beginWaiting(pass, planned);
  settleItems(pass, planned);
}

/** What an expression of one item reads. */
export function itemScope(pass: Pass, planned: PlannedStep, index: number): Scope {
  return { ...pass.scope(), item: valuesOf(pass, planned)[index], index };
}

/** After an item has ended: begins the next, or ends the step. */
export function settleItems(pass: Pass, planned: PlannedStep): void {
  const parent = pass.step(planned.name);
  if (parent.state !== "RUNNING") return;
  if (pass.itemsOf(planned.name).some(isFailed)) skipWaiting(pass, planned);
  else beginWaiting(pass, planned);
  const items = pass.itemsOf(planned.name);
  if (!items.every(({ state }) => isStepTerminal(state))) return;
  if (!items.some(isFailed)) return succeed(pass, parent, items);
  if (isAskedToEnd(pass, planned)) return void pass.move(parent, "cancelled", pass.cancelled ?? pass.cause);
  const failed = items.find(isFailed);
  const message = `item ${failed?.itemIndex}: ${failed?.message || failed?.reason.toLowerCase().replaceAll("_", " ")}`;
  pass.move(parent, "failed", { reason: "ITEM_FAILED", message });
}

function succeed(pass: Pass, parent: Step, items: readonly Step[]): void {
  const list = pass.flow.results.list(`${parent.name}.*`, items, maxListBytes);
  const result = list?.map((each) => each ?? null);
  if (result !== undefined && Buffer.byteLength(JSON.stringify(result)) <= maxListBytes) {
    return void pass.move(parent, "succeeded", { result });
  }
  const message = `the results of its ${items.length} items are longer than the limit of ${maxListBytes} bytes as JSON`;
  pass.move(parent, "failed", { reason: "RESULT_INVALID", message });
}

/** What runs after a cancel is not meant by it. */
function isAskedToEnd(pass: Pass, { role }: PlannedStep): boolean {
  return pass.isCancelling() && role === "main";
}

function isFailed({ state }: Step): boolean {
  const bad: readonly StepState[] = ["FAILED", "TIMED_OUT", "CANCELLED"];
  return bad.includes(state);
}

function beginWaiting(pass: Pass, planned: PlannedStep): void {
  if (isAskedToEnd(pass, planned) || pass.isPaused()) return;
  const items = pass.itemsOf(planned.name);
  const maxParallel = planned.spec.forEach?.maxParallel || items.length;
  let running = items.filter(({ state }) => state !== "BLOCKED" && !isStepTerminal(state)).length;
  for (const item of items) {
    if (running >= maxParallel) return;
    if (item.state !== "BLOCKED") continue;
    if (pass.isSpent()) return pass.put({ ...pass.step(planned.name), dueTime: pass.now });
    beginStep(pass, planned, item, () => itemScope(pass, planned, item.itemIndex ?? 0));
    const begun = pass.step(item.name);
    if (isFailed(begun)) return skipWaiting(pass, planned);
    if (!isStepTerminal(begun.state)) running += 1;
  }
}

function skipWaiting(pass: Pass, planned: PlannedStep): void {
  for (const item of pass.itemsOf(planned.name)) {
    if (item.state !== "BLOCKED") continue;
    pass.move(item, "skipped", { reason: "ITEM_FAILED", message: "another item has failed" });
  }
}

function valuesOf(pass: Pass, { name, spec }: PlannedStep): readonly unknown[] {
  const known = pass.flow.items.get(name);
  if (known !== undefined) return known;
  if (spec.forEach === undefined) throw new Error(`step ${name} has no items`);
  const { forEach } = spec;
  const values = counted(pass, (work) => itemsOf(forEach, pass.scope(), work));
  pass.flow.items.set(name, values);
  return values;
}

function itemOf(parent: Step, index: number): Step {
  return {
    ...parent,
    name: `${parent.name}.${index}`,
    parent: parent.name,
    itemIndex: index,
    state: "BLOCKED",
    reason: "MAX_PARALLEL",
    message: "",
    startTime: null,
  };
}
