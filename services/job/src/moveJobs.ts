/** The one way a job that exists is moved: lock many, decide each, save all with their facts, commit, tell. */
import { appendFacts, type Db, type Fact, inTransaction, type Pool } from "@capstan/postgres";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { type KeptSignal, openInbox } from "./inbox.ts";
import { type Change, cancel, type Job, wake } from "./job.ts";
import { factOf } from "./jobProto.ts";
import { lockJobs, type Saved, saveJobs } from "./jobStore.ts";
import type { Cause, Flow, Passed } from "./pass.ts";
import { compilePlan } from "./plan.ts";
import type { KnownPlan, Plans } from "./plans.ts";
import { report, type StepAnswer } from "./report.ts";
import { createResults, type WantedResults } from "./results.ts";
import { loadKeptSignals } from "./signalStore.ts";
import type { CausedChange } from "./tell.ts";
import { saveWaits } from "./waitStore.ts";
import { type CausedReport, cancelWorkflow, reportAll, wakeWorkflow } from "./workflow.ts";
import { loadResults, loadSpecs } from "./workflowStore.ts";

/** What was decided for a job: its changes in order, and the job after the last (also when only a waiting reason changed). */
export type Decision = Passed;

/**
 * Decides about one locked job; `undefined` when nothing changes. `flow` is null for a job that has no plan. Throwing undoes the
 * whole transaction. May be called again about the same job, when results were wanted that had not been read.
 */
export type Decide = (job: Job, now: Date, flow: Flow | null) => Decision | undefined;

function oneChange(change: Change | null, causationId: string): Decision | undefined {
  return change === null ? undefined : { changes: [{ change, causationId }], after: change.job };
}

/** Asks a job to end. Undefined if it was asked before or its outcome is decided; refuses one that has ended otherwise. */
export function cancelOf(
  job: Job,
  cause: Cause,
  causationId: string,
  now: Date,
  flow: Flow | null,
): Decision | undefined {
  if (flow === null) return oneChange(cancel(job, cause), causationId);
  return cancelWorkflow(job, cause, flow, now, causationId) ?? undefined;
}

/** Does what was waiting for its time. */
export function wakeOf(job: Job, now: Date, flow: Flow | null): Decision | undefined {
  return flow === null ? oneChange(wake(job, now), "") : (wakeWorkflow(job, flow, now) ?? undefined);
}

/** Applies reports in their order, and answers each. */
export function reportsOf(
  job: Job,
  reports: readonly CausedReport[],
  now: Date,
  flow: Flow | null,
): { readonly answers: readonly StepAnswer["outcome"][]; readonly decision: Decision | undefined } {
  if (flow !== null) {
    const { answers, passed } = reportAll(job, reports, flow, now, Math.random);
    return { answers, decision: passed ?? undefined };
  }
  const changes: CausedChange[] = [];
  let after = job;
  const answers = reports.map(({ said, causationId }) => {
    const answer = report(after, said, now, Math.random());
    if (answer.outcome !== "APPLIED") return answer.outcome;
    after = answer.change === null ? answer.job : answer.change.job;
    if (answer.change !== null) changes.push({ change: answer.change, causationId });
    return answer.outcome;
  });
  return { answers, decision: after === job ? undefined : { changes, after } };
}

/** `prepare` is done first, in the same transaction. */
export type MoveJobs = (
  ids: readonly string[],
  decide: Decide,
  prepare?: (db: Db) => Promise<void>,
) => Promise<ReadonlyMap<string, Job>>;

/** Gives back how to move jobs; it resolves after COMMIT with every job that was found, as it is then. */
export function createMoveJobs(pool: Pool, plans: Plans, onCommit: (jobs: readonly Job[]) => void): MoveJobs {
  return async (ids, decide, prepare) => {
    const { jobs, saved } = await inTransaction(pool, async (db) => {
      await prepare?.(db);
      return moveJobsIn(db, plans, ids, decide);
    });
    if (saved.length > 0) onCommit(saved);
    return jobs;
  };
}

/** Moves jobs inside of a transaction of the caller. Gives back all that were found, and those that moved. */
export async function moveJobsIn(
  db: Db,
  plans: Plans,
  ids: readonly string[],
  decide: Decide,
): Promise<{ readonly jobs: ReadonlyMap<string, Job>; readonly saved: readonly Job[] }> {
  const { jobs, now } = await lockJobs(db, ids, plans.stepsOf);
  const workflows = [...jobs.values()].filter(({ isWorkflow }) => isWorkflow);
  const decided = new Map<string, Decision>();
  for (const job of jobs.values()) {
    if (job.isWorkflow) continue;
    const decision = decide(job, now, null);
    if (decision !== undefined) decided.set(job.id, decision);
  }
  for (let at = 0; at < workflows.length; at += maxPlansAtOnce) {
    await decideWorkflows(db, workflows.slice(at, at + maxPlansAtOnce), now, decide, { plans, decided });
  }
  const saved = [...decided].map(([id, { after }]): Saved => ({ before: jobs.get(id) ?? after, after }));
  if (saved.length > 0) await saveJobs(db, saved);
  const waits = [...decided].map(([id, decision]) => ({ before: jobs.get(id) ?? decision.after, decision }));
  await saveWaits(db, waits);
  const facts = await factsOf(
    db,
    [...decided.values()].flatMap(({ changes }) => changes),
  );
  if (facts.length > 0) await appendFacts(db, facts);
  return {
    jobs: new Map([...jobs, ...saved.map(({ after }) => [after.id, after] as const)]),
    saved: saved.map(({ after }) => after),
  };
}

/** Each may have to be read and parsed, and a spec may have 400 KiB. */
const maxPlansAtOnce = 50;
const noSignals: ReadonlyMap<string, readonly KeptSignal[]> = new Map();

/** Held here while they are needed: remembering one may push out another. */
async function knowPlans(db: Db, plans: Plans, jobs: readonly Job[]): Promise<ReadonlyMap<string, KnownPlan>> {
  const known = new Map<string, KnownPlan>();
  for (const { id } of jobs) {
    const plan = plans.get(id);
    if (plan !== undefined) known.set(id, plan);
  }
  const unknown = jobs.filter(({ id }) => !known.has(id)).map(({ id }) => id);
  const specs = unknown.length > 0 ? await loadSpecs(db, unknown) : new Map<string, string>();
  for (const [id, spec] of specs) known.set(id, plans.add(id, compilePlan(parseSpec(spec)), spec.length));
  return known;
}

/** Decides about each, and again about those that wanted results, once these have been read. */
async function decideWorkflows(
  db: Db,
  jobs: readonly Job[],
  now: Date,
  decide: Decide,
  { plans, decided }: { readonly plans: Plans; readonly decided: Map<string, Decision> },
): Promise<void> {
  const known = await knowPlans(db, plans, jobs);
  const results = new Map(jobs.map(({ id }) => [id, createResults()]));
  const awaiting = jobs.filter(({ id }) => known.get(id)?.plan.awaitsSignals).map(({ id }) => id);
  const signals = awaiting.length > 0 ? await loadKeptSignals(db, awaiting) : noSignals;
  for (let open = jobs; open.length > 0; ) {
    const wants: { readonly job: Job; readonly want: WantedResults }[] = [];
    for (const job of open) {
      const plan = known.get(job.id);
      const readable = results.get(job.id);
      if (plan === undefined || readable === undefined) continue;
      const inbox = openInbox(signals.get(job.id) ?? []);
      const flow: Flow = { plan: plan.plan, results: readable, items: new Map(plan.items), inbox };
      const decision = decide(job, now, flow);
      const wanted = readable.takeWanted();
      wants.push(...wanted.map((want) => ({ job, want })));
      if (wanted.length > 0) continue;
      plans.keepItems(job.id, flow.items);
      if (decision !== undefined) decided.set(job.id, decision);
    }
    if (wants.length === 0) return;
    const answers = await loadResults(
      db,
      wants.map(({ job, want }) => ({ jobId: job.id, ...want })),
    );
    for (const [at, { job, want }] of wants.entries()) results.get(job.id)?.add(want, answers[at] ?? null);
    open = [...new Set(wants.map(({ job }) => job))];
  }
}

/** A fact says what to run. Of a workflow the decision knows it; otherwise it is read here. */
async function factsOf(db: Db, changes: readonly CausedChange[]): Promise<readonly Fact[]> {
  const ready = changes.filter(
    ({ change }) => change.told === undefined && change.moved.some(({ state }) => state === "READY"),
  );
  const specs =
    ready.length > 0
      ? await loadSpecs(
          db,
          ready.map(({ change }) => change.job.id),
        )
      : new Map<string, string>();
  return changes.map(({ change, causationId }) => {
    const spec = specs.get(change.job.id);
    return factOf(change, spec === undefined ? null : parseSpec(spec), causationId);
  });
}

function parseSpec(json: string): JobSpec {
  return JobSpec.fromJSON(JSON.parse(json));
}
