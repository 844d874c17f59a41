/** The job context: its rules are the true ones, its database is a map, and each call is one transaction. */
import type { Fact } from "@capstan/postgres";
import type { ReportExecutionsRequest } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import type { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { birthOf } from "../../services/job/src/birth.ts";
import { openInbox } from "../../services/job/src/inbox.ts";
import { cancel, isJobTerminal, isStepTerminal, type Job, wake } from "../../services/job/src/job.ts";
import { factOf, reportFromMessage } from "../../services/job/src/jobProto.ts";
import type { Flow } from "../../services/job/src/pass.ts";
import { compilePlan, needsPlan, type Plan } from "../../services/job/src/plan.ts";
import { report } from "../../services/job/src/report.ts";
import { createResults } from "../../services/job/src/results.ts";
import type { CausedChange } from "../../services/job/src/tell.ts";
import { begin, cancelWorkflow, reportAll, wakeWorkflow } from "../../services/job/src/workflow.ts";
import type { FactLog } from "./facts.ts";
import type { Random } from "./scheduler.ts";
import type { Defect } from "./simulate.ts";

export interface KnownJob {
  job: Job;
  readonly spec: JobSpec;
  readonly plan: Plan | null;
}

export interface JobContext {
  readonly jobs: ReadonlyMap<string, KnownJob>;
  submit(key: string, jobId: string, spec: JobSpec, deadlineTime: Date | null): string;
  cancel(jobId: string): void;
  report(request: ReportExecutionsRequest): { outcomes: string[] };
  /** Does what is due. */
  wake(): void;
  openAttempts(): readonly { readonly jobId: string; readonly step: string; readonly attempt: number }[];
  factsOf(jobId: string): readonly Fact[];
}

interface Options {
  readonly log: FactLog;
  readonly clock: () => number;
  readonly random: Random;
  readonly violate: (what: string) => void;
  readonly has: (defect: Defect) => boolean;
}

export function createJobContext({ log, clock, random, violate, has }: Options): JobContext {
  const jobs = new Map<string, KnownJob>();
  const keys = new Map<string, string>();
  const now = () => new Date(clock());
  const flowOf = (plan: Plan): Flow => ({ plan, results: createResults(), items: new Map(), inbox: openInbox([]) });

  function save(known: KnownJob, changes: readonly CausedChange[], after: Job): void {
    if (isJobTerminal(known.job.state)) violate(`job ${after.id} moved after its end`);
    for (const step of known.job.steps) {
      const later = after.steps.find(({ name }) => name === step.name);
      if (isStepTerminal(step.state) && later?.state !== step.state)
        violate(`step ${step.name} of ${after.id} ended twice`);
    }
    log.append(changes.map(({ change, causationId }) => factOf(change, known.spec, causationId)));
    known.job = after;
  }

  function find(id: string): KnownJob {
    const known = jobs.get(id);
    if (known === undefined) throw new Error(`there is no job ${id}`);
    return known;
  }

  function reportOne(known: KnownJob, caused: Parameters<typeof reportAll>[1]): readonly string[] {
    const chance = () => random.below(1_000) / 1_000;
    if (known.plan !== null) {
      const { answers, passed } = reportAll(known.job, caused, flowOf(known.plan), now(), chance);
      if (passed !== null) save(known, passed.changes, passed.after);
      return answers;
    }
    return caused.map(({ said, causationId }) => {
      const answer = report(known.job, said, now(), chance());
      if (answer.outcome !== "APPLIED") return answer.outcome;
      if (answer.change === null) known.job = answer.job;
      else save(known, [{ change: answer.change, causationId }], answer.change.job);
      return answer.outcome;
    });
  }

  function cancelOne(known: KnownJob, reason: string): void {
    if (isJobTerminal(known.job.state)) return;
    const cause = { reason, message: "simulated" };
    if (known.plan !== null) {
      const passed = cancelWorkflow(known.job, cause, flowOf(known.plan), now(), "");
      if (passed !== null) save(known, passed.changes, passed.after);
      return;
    }
    const change = cancel(known.job, cause);
    if (change !== null) save(known, [{ change, causationId: "" }], change.job);
  }

  return {
    jobs,
    submit(key, jobId, spec, deadlineTime) {
      const there = keys.get(key);
      if (there !== undefined && !has("keys are not remembered")) return there;
      const plan = needsPlan(spec) ? compilePlan(spec) : null;
      const job = { ...birthOf(spec, plan, { tenant: "default", traceparent: null, jobId }, now()), deadlineTime };
      const known: KnownJob = { job, spec, plan };
      jobs.set(jobId, known);
      keys.set(key, jobId);
      log.append([factOf({ job, noun: "job", event: "submitted", moved: plan === null ? job.steps : [] }, spec, "")]);
      const begun = plan === null ? null : begin(job, flowOf(plan), now());
      if (begun !== null) save(known, begun.changes, begun.after);
      return jobId;
    },
    cancel: (jobId) => cancelOne(find(jobId), "CANCELLED_BY_USER"),
    report({ reports }) {
      const outcomes = reports.map(() => "REPORT_OUTCOME_UNKNOWN");
      for (const [jobId, own] of Map.groupBy(reports.entries(), ([, each]) => each.jobId)) {
        const caused = own.flatMap(([, message]) => {
          const said = reportFromMessage(message);
          return said === null ? [] : [{ said, causationId: message.causationId }];
        });
        const answers = reportOne(find(jobId), caused);
        for (const [at, [index]] of own.entries()) outcomes[index] = `REPORT_OUTCOME_${answers[at]}`;
      }
      return { outcomes };
    },
    wake() {
      for (const known of jobs.values()) {
        const { job, plan } = known;
        if (isJobTerminal(job.state)) continue;
        if (job.deadlineTime !== null && job.deadlineTime <= now() && job.state !== "CANCELLING")
          cancelOne(known, "JOB_TIMEOUT");
        if (plan === null) {
          const change = wake(known.job, now());
          if (change !== null) save(known, [{ change, causationId: "" }], change.job);
        } else if (known.job.steps.some(({ dueTime }) => dueTime !== null && dueTime <= now())) {
          const passed = wakeWorkflow(known.job, flowOf(plan), now());
          if (passed !== null) save(known, passed.changes, passed.after);
        }
      }
    },
    openAttempts: () =>
      [...jobs.values()].flatMap(({ job }) =>
        isJobTerminal(job.state)
          ? []
          : job.steps
              .filter(({ state, executionId }) => state === "READY" || (state === "RUNNING" && executionId !== null))
              .map(({ name: step, attempt }) => ({ jobId: job.id, step, attempt })),
      ),
    factsOf: (jobId) => log.facts.filter(({ aggregateId }) => aggregateId === jobId),
  };
}
