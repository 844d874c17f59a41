/**
 * The jobs of a case: one of each kind, each attempt of which writes a line to a ledger that only grows. The client does as it should:
 * every call has a deadline, and is repeated with its key until it is answered.
 */

import { randomUUID } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { HandlerContext } from "@capstan/client";
import type { DomainError } from "@capstan/errors";
import { DecideApprovalRequest, SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { CreateScheduleRequest } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { type StepPart, seconds, sh } from "../support/jobs.ts";
import type { Platform } from "../support/startPlatform.ts";
import { image } from "../support/workloads.ts";

/** What passes most failpoints: a job that succeeds, one whose first attempt fails, one that is cancelled, one of three steps. */
export const commonKinds = ["plain", "retried", "cancelled", "workflow"] as const;
/** And the others: of a handler, of a container, one that waits for an approval, and one that a schedule submits. */
export type JobKind = (typeof commonKinds)[number] | "handled" | "contained" | "approved" | "scheduled";

/** The pool of the worker that handles the jobs of handlers. */
export const pool = "faults";

/** What it handles: notes that it runs, for so long that its start is told before its end. */
export async function note({ ledger }: { readonly ledger: string }, { jobId, attempt, executionId }: HandlerContext) {
  await appendFile(ledger, `${jobId} main ${attempt} ${executionId}\n`);
  await sleep(300);
  return null;
}

export interface SubmittedJobs {
  /** By kind. */
  readonly ids: ReadonlyMap<JobKind, string>;
  readonly ledger: string;
}

const retry = { maxAttempts: 6, initialBackoff: seconds(0.05), maxBackoff: seconds(0.2) };
const startTimeout = seconds(2);
const patienceMs = 60_000;
const call = { deadlineMs: 1_500 };

function stepsOf(kind: JobKind, ledger: string): readonly StepPart[] {
  const note = (step: string) => `echo "$CAPSTAN_JOB_ID ${step} $CAPSTAN_ATTEMPT $CAPSTAN_EXECUTION_ID" >> ${ledger}`;
  const step = (name: string, more = "", part: StepPart = {}) =>
    sh(`${note(name)}${more}`, { name, retry, startTimeout, stopGrace: seconds(0.5), ...part });
  switch (kind) {
    case "plain":
      // It runs for so long that its output is stored before its end.
      return [step("main", "; echo on; sleep 0.2")];
    case "retried":
      return [step("main", '; test "$CAPSTAN_ATTEMPT" -gt 1')];
    case "cancelled":
      return [step("main", "; exec sleep 3600")];
    case "workflow":
      return [step("a"), step("b", "", { dependsOn: ["a"] }), step("c", "", { dependsOn: ["a"] })];
    case "handled":
      return [{ name: "main", handler: "note", input: { ledger }, placement: { provider: pool }, retry, startTimeout }];
    case "contained":
      return [{ name: "main", image, command: ["sh", "-c", "echo on; sleep 0.2"], retry, startTimeout }];
    case "approved":
      return [{ name: "ask", approval: { message: "go?" } }, step("main", "", { dependsOn: ["ask"] })];
    case "scheduled":
      return [step("main")];
  }
}

/** The id of the job, whose submit is repeated until it is answered. */
async function submit({ capstan, database }: Platform, kind: JobKind, ledger: string): Promise<string> {
  const spec = { name: kind, steps: stepsOf(kind, ledger) };
  const key = `${kind}-${randomUUID()}`;
  if (kind !== "scheduled") {
    const part = { spec, idempotencyKey: key };
    const request = SubmitJobRequest.fromPartial(part as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
    const { job } = await eventually(() => capstan.jobs.submitJob(request, call), patienceMs);
    return job?.id ?? "";
  }
  const part = { name: key, spec: { interval: seconds(1), job: spec } };
  const request = CreateScheduleRequest.fromPartial(part as Parameters<typeof CreateScheduleRequest.fromPartial>[0]);
  await eventually(() => capstan.schedules.createSchedule(request, call), patienceMs);
  const first =
    "select j.id::text from job.schedule s join job.job j on j.schedule_id = s.id where s.name = $1 limit 1";
  const jobId = await eventually(async () => {
    const [row] = await queryOnce(database.adminUrl, first, [key]);
    if (row === undefined) throw new Error("no run was submitted");
    return String(row["id"]);
  }, patienceMs);
  const isGone = (error: DomainError) => error.code === "NOT_FOUND" || Promise.reject(error);
  await eventually(() => capstan.schedules.deleteSchedule({ schedule: key, etag: "" }, call).catch(isGone), patienceMs);
  return jobId;
}

/** Submits one job of each kind, cancels and approves those that are to be, and answers when every job has ended. */
export async function runJobs(
  platform: Platform,
  ledger: string,
  kinds: readonly JobKind[] = commonKinds,
): Promise<SubmittedJobs> {
  const { capstan, database } = platform;
  await appendFile(ledger, "");
  const ids = new Map<JobKind, string>();
  await Promise.all(
    kinds.map(async (kind) => {
      const id = await submit(platform, kind, ledger);
      ids.set(kind, id);
      if (kind === "approved") {
        const decision = { jobId: id, step: "ask", decision: "APPROVAL_DECISION_APPROVE", by: "ada" } as const;
        const request = DecideApprovalRequest.fromPartial(decision);
        await eventually(() => capstan.jobs.decideApproval(request, call), patienceMs);
      }
      if (kind !== "cancelled") return;
      await eventually(async () => (await readLedger(ledger)).some((line) => line.jobId === id), patienceMs);
      await eventually(() => capstan.jobs.cancelJob({ jobId: id, message: "" }, call), patienceMs);
    }),
  );
  await eventually(async () => {
    const rows = await queryOnce(
      database.adminUrl,
      `select j.name, j.id::text, j.state, j.reason, s.attempt, s.stage, s.wakeup_time - clock_timestamp() as wakes_in,
              e.state as execution, e.fence::text, e.lease_owner::text as runner
         from job.job j
              left join orchestrator.saga s on s.job_id = j.id and s.stage not in ('DONE', 'COMPENSATED')
              left join execution.execution e on e.id = s.id
        where j.id = any($1::uuid[]) and j.end_time is null`,
      [[...ids.values()]],
    );
    if (rows.length > 0) throw new Error(`not ended: ${JSON.stringify(rows)}`);
  }, patienceMs);
  return { ids, ledger };
}

/** A line of the ledger: an attempt that began to run. */
export interface Ran {
  readonly jobId: string;
  readonly step: string;
  readonly attempt: number;
  readonly executionId: string;
}

export async function readLedger(ledger: string): Promise<readonly Ran[]> {
  const lines = (await readFile(ledger, "utf8")).split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const [jobId = "", step = "", attempt = "", executionId = ""] = line.split(" ");
    return { jobId, step, attempt: Number(attempt), executionId };
  });
}

/** What is not as it should be about jobs that have ended, in sentences; none when all is well. */
export async function findWrongs({ database }: Platform, { ids, ledger }: SubmittedJobs): Promise<readonly string[]> {
  const ran = await readLedger(ledger);
  const runs = Map.groupBy(ran, ({ jobId, step, attempt }) => `${jobId} ${step} attempt ${attempt}`);
  const wrongs = [...runs]
    .filter(([, lines]) => lines.length > 1)
    .map(([key, { length }]) => `${key} ran ${length} times`);
  const rows = await queryOnce(
    database.adminUrl,
    `select j.id::text, j.state, j.reason,
            (select count(*)::int from job.job r where r.schedule_id = j.schedule_id) as runs,
            (select count(*)::int from job.event e where e.aggregate_id = j.schedule_id and e.event = 'fired') as fired,
            (select count(*)::int from job.event e where e.aggregate_id = j.id and e.is_terminal) as ends
       from job.job j where j.id = any($1::uuid[])`,
    [[...ids.values()]],
  );
  for (const [kind, id] of ids) {
    const row = rows.find((each) => each["id"] === id);
    const wanted = kind === "cancelled" ? "CANCELLED" : "SUCCEEDED";
    if (row === undefined) wrongs.push(`the ${kind} job was answered and is not there`);
    else if (row["state"] !== wanted) wrongs.push(`the ${kind} job ${id} is ${row["state"]} (${row["reason"]})`);
    if (row !== undefined && row["ends"] !== 1) wrongs.push(`the ${kind} job has ${row["ends"]} terminal facts`);
    if (row?.["runs"] !== row?.["fired"])
      wrongs.push(`of ${row?.["fired"]} runs that were told ${row?.["runs"]} are there`);
    const steps = new Set(ran.filter(({ jobId }) => jobId === id).map(({ step }) => step));
    // A container has no file of ours: of those the invariants say whether each ran once.
    if (kind !== "contained" && steps.size !== (kind === "workflow" ? 3 : 1))
      wrongs.push(`of the ${kind} job ran only ${[...steps]}`);
  }
  return wrongs;
}
