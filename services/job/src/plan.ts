/**
 * A spec as its job is moved by it: what each step waits for, what waits for it, and what it is there for. A spec never changes, so
 * a plan is compiled once and holds for the life of the job.
 */
import { type JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { holdsTemplate } from "./renderStep.ts";

/** What a step does when it is reached. */
export type StepKind = "execution" | "subJob" | "approval" | "signal" | "sleep";

/** Main steps make the DAG; the others run only when that has ended, if at all. */
export type Role = "main" | "compensation" | "hook";

export interface PlannedStep {
  readonly name: string;
  readonly spec: StepSpec;
  readonly kind: StepKind;
  readonly role: Role;
  /** The steps that depend on this one. */
  readonly dependents: readonly string[];
  /** Greater than that of every step it depends on. */
  readonly rank: number;
  /** What is told of it once it is READY, as long as no expression stands in it. */
  readonly told: Told;
  readonly hasExpressions: boolean;
}

/** What to run, and how long that is as JSON. */
export interface Told {
  readonly spec: StepSpec;
  readonly bytes: number;
}

export interface Plan {
  readonly spec: JobSpec;
  readonly steps: ReadonlyMap<string, PlannedStep>;
  readonly main: readonly PlannedStep[];
  /** Main steps that nothing depends on: what the job gives back. */
  readonly leaves: readonly string[];
  /** Compensations and hooks. */
  readonly late: readonly string[];
  /** Some step of it waits for a signal. */
  readonly awaitsSignals: boolean;
}

/** True if a job is more than one execution. What has no plan is moved without ever reading its spec. */
export function needsPlan({ steps }: JobSpec): boolean {
  const [step] = steps;
  if (step === undefined || steps.length > 1) return true;
  return kindOf(step) !== "execution" || step.when !== "" || step.forEach !== undefined || holdsTemplate(step);
}

/** The plan of a spec that was checked: names are known and there is no cycle. */
export function compilePlan(spec: JobSpec): Plan {
  const roles = rolesOf(spec);
  const dependents = new Map<string, string[]>(spec.steps.map(({ name }) => [name, []]));
  for (const { name, dependsOn } of spec.steps) {
    for (const dependency of new Set(dependsOn)) dependents.get(dependency)?.push(name);
  }
  const ranks = ranksOf(spec, dependents);
  const planned = spec.steps.map((step): PlannedStep => {
    const told = toldOf(step);
    return {
      name: step.name,
      spec: step,
      kind: kindOf(step),
      role: roles.get(step.name) ?? "main",
      dependents: dependents.get(step.name) ?? [],
      rank: ranks.get(step.name) ?? 0,
      told,
      hasExpressions: holdsTemplate(step),
    };
  });
  const main = planned.filter(({ role }) => role === "main");
  return {
    spec,
    steps: new Map(planned.map((step) => [step.name, step])),
    main,
    leaves: main.filter((step) => step.dependents.length === 0).map(({ name }) => name),
    late: planned.filter(({ role }) => role !== "main").map(({ name }) => name),
    awaitsSignals: planned.some(({ kind }) => kind === "signal"),
  };
}

/** What an execution needs to know of a step: not how it came to be reached. */
export function toldOf(step: StepSpec): Told {
  const spec: StepSpec = {
    ...step,
    dependsOn: [],
    continueOnFailure: false,
    when: "",
    forEach: undefined,
    compensate: "",
  };
  return { spec, bytes: Buffer.byteLength(JSON.stringify(StepSpec.toJSON(spec))) };
}

/** Enough to place it by, of a step that shall end and will not run. */
export function bareToldOf({ name, spec: { handler, resources, placement } }: PlannedStep): Told {
  return toldOf(StepSpec.fromPartial({ name, handler, resources, placement }));
}

function kindOf(step: StepSpec): StepKind {
  if (step.subJob !== undefined) return "subJob";
  if (step.approval !== undefined) return "approval";
  if (step.signal !== undefined) return "signal";
  return step.sleep === undefined ? "execution" : "sleep";
}

function rolesOf({ steps, onSuccess, onFailure, onCancel }: JobSpec): ReadonlyMap<string, Role> {
  const compensations = steps.flatMap(({ compensate }): [string, Role][] =>
    compensate === "" ? [] : [[compensate, "compensation"]],
  );
  const hooks = [...onSuccess, ...onFailure, ...onCancel].map((name): [string, Role] => [name, "hook"]);
  return new Map([...compensations, ...hooks]);
}

/** In the order of their dependencies, each one level after the last it waits for. */
function ranksOf({ steps }: JobSpec, dependents: ReadonlyMap<string, readonly string[]>): ReadonlyMap<string, number> {
  const waitsFor = new Map(steps.map(({ name, dependsOn }) => [name, new Set(dependsOn).size]));
  const ranks = new Map<string, number>();
  let level = steps.filter(({ dependsOn }) => dependsOn.length === 0).map(({ name }) => name);
  for (let rank = 0; level.length > 0; rank += 1) {
    const next: string[] = [];
    for (const name of level) {
      ranks.set(name, rank);
      for (const dependent of dependents.get(name) ?? []) {
        const left = (waitsFor.get(dependent) ?? 0) - 1;
        waitsFor.set(dependent, left);
        if (left === 0) next.push(dependent);
      }
    }
    level = next;
  }
  return ranks;
}
