/**
 * The jobs of a case: one of each kind, each attempt of which writes a line to a ledger that only grows. The client does as it should:
 * every call has a deadline, and is repeated with its key until it is answered.
 */

import { randomUUID } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { type StepPart, seconds, sh } from "../support/jobs.ts";
import type { Platform } from "../support/startPlatform.ts";

/** What passes which failpoints: a job that succeeds, one whose first attempt fails, one that is cancelled, one of three steps. */
export const jobKinds = ["plain", "retried", "cancelled", "workflow"] as const;
export type JobKind = (typeof jobKinds)[number];

export interface SubmittedJobs {
  /** By kind. */
  readonly ids: ReadonlyMap<JobKind, string>;
  readonly ledger: string;
}

const retry = { maxAttempts: 6, initialBackoff: seconds(0.05), maxBackoff: seconds(0.2) };
const patienceMs = 60_000;
const call = { deadlineMs: 1_500 };

function stepsOf(kind: JobKind, ledger: string): readonly StepPart[] {
  const note = (step: string) => `echo "$CAPSTAN_JOB_ID ${step} $CAPSTAN_ATTEMPT $CAPSTAN_EXECUTION_ID" >> ${ledger}`;
  const step = (name: string, more = "", part: StepPart = {}) =>
    sh(`${note(name)}${more}`, { name, retry, startTimeout: seconds(2), stopGrace: seconds(0.5), ...part });
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
  }
}

/** Submits one job of each kind, cancels the one that is to be, and answers when every job has ended as it should. */
export async function runJobs({ capstan, database }: Platform, ledger: string): Promise<SubmittedJobs> {
  await appendFile(ledger, "");
  const ids = new Map<JobKind, string>();
  await Promise.all(
    jobKinds.map(async (kind) => {
      const idempotencyKey = `${kind} ${randomUUID()}`;
      const part = { spec: { name: kind, steps: stepsOf(kind, ledger) }, idempotencyKey };
      const request = SubmitJobRequest.fromPartial(part as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
      const answer = await eventually(() => capstan.jobs.submitJob(request, call), patienceMs);
      const id = answer.job?.id ?? "";
      ids.set(kind, id);
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
    `select j.id::text, j.state, j.reason, (select count(*)::int from job.event e where e.aggregate_id = j.id and e.is_terminal) as ends
       from job.job j where j.id = any($1::uuid[])`,
    [[...ids.values()]],
  );
  for (const [kind, id] of ids) {
    const row = rows.find((each) => each["id"] === id);
    const wanted = kind === "cancelled" ? "CANCELLED" : "SUCCEEDED";
    if (row === undefined) wrongs.push(`the ${kind} job was answered and is not there`);
    else if (row["state"] !== wanted) wrongs.push(`the ${kind} job ${id} is ${row["state"]} (${row["reason"]})`);
    if (row !== undefined && row["ends"] !== 1) wrongs.push(`the ${kind} job has ${row["ends"]} terminal facts`);
    const steps = new Set(ran.filter(({ jobId }) => jobId === id).map(({ step }) => step));
    if (steps.size !== (kind === "workflow" ? 3 : 1)) wrongs.push(`of the ${kind} job ran only ${[...steps]}`);
  }
  return wrongs;
}
