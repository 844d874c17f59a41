/**
 * The statements of errands: what is to be done between a job and its sub-jobs. They are written with the move that asks for them and done
 * in transactions of their own, so that nobody ever holds the lock of a job while waiting for that of its parent or its child.
 */
import type { Db } from "@capstan/postgres";
import { TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { JobState } from "./job.ts";
import type { ChildEnd, NewChild } from "./subJob.ts";

/** Which job was submitted by which attempt of which step. */
export interface Kinship {
  readonly childJobId: string;
  readonly parentJobId: string;
  readonly step: string;
  readonly attempt: number;
}

/** Asks to submit jobs, and has their steps say which. */
export async function insertSubmits(db: Db, children: readonly NewChild[]): Promise<void> {
  await db.query({
    name: "insert_submits",
    text: `with child as (
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::json[], $6::timestamptz[])
               as child (child_job_id, parent_job_id, step, attempt, template, deadline_time)
           ), told as (
             update job.step s set child_job_id = child.child_job_id
               from child
              where s.job_id = child.parent_job_id and s.name = child.step
           )
           insert into job.errand (child_job_id, kind, parent_job_id, step, attempt, template, deadline_time)
           select child_job_id, 'SUBMIT', parent_job_id, step, attempt, template, deadline_time from child`,
    values: [
      children.map(({ childJobId }) => childJobId),
      children.map(({ parentJobId }) => parentJobId),
      children.map(({ step }) => step),
      children.map(({ attempt }) => attempt),
      children.map(({ template }) => JSON.stringify(TemplateUse.toJSON(template))),
      children.map(({ deadlineTime }) => deadlineTime),
    ],
  });
}

/** Asks to cancel jobs with their parents; those that were not submitted yet never are. */
export async function insertCancels(db: Db, kin: readonly Kinship[]): Promise<void> {
  // Waits for whoever submits one of them at this moment, who waits for nobody; so it is seen to be there when it is cancelled.
  await db.query({
    name: "delete_submits",
    text: `delete from job.errand where child_job_id = any($1::uuid[]) and kind = 'SUBMIT'`,
    values: [kin.map(({ childJobId }) => childJobId)],
  });
  await insertErrands(db, "CANCEL", kin);
}

/** Asks to tell the parents of these jobs that they have ended. */
export async function insertTells(db: Db, kin: readonly Kinship[]): Promise<void> {
  await insertErrands(db, "TELL", kin);
}

async function insertErrands(
  db: Db,
  kind: "CANCEL" | "TELL",
  kin: readonly (Kinship & { readonly refusal?: string })[],
): Promise<void> {
  await db.query({
    name: "insert_errands",
    text: `insert into job.errand (child_job_id, kind, parent_job_id, step, attempt, refusal)
           select child_job_id, $1, parent_job_id, step, attempt, refusal
             from unnest($2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::text[])
               as child (child_job_id, parent_job_id, step, attempt, refusal)
           on conflict do nothing`,
    values: [
      kind,
      kin.map(({ childJobId }) => childJobId),
      kin.map(({ parentJobId }) => parentJobId),
      kin.map(({ step }) => step),
      kin.map(({ attempt }) => attempt),
      kin.map(({ refusal }) => refusal ?? null),
    ],
  });
}

/** Asks to tell parents why their sub-jobs could not be submitted. */
export async function insertRefusals(db: Db, kin: readonly (Kinship & { readonly refusal: string })[]): Promise<void> {
  await insertErrands(db, "TELL", kin);
}

/** A job to be submitted, with what it has of its parent. */
export interface DueSubmit extends NewChild {
  readonly tenant: string;
  readonly traceparent: string | null;
  readonly depth: number;
}

/** Takes jobs that are to be submitted; others leave these alone until the transaction ends. */
export async function takeSubmits(db: Db, limit: number): Promise<readonly DueSubmit[]> {
  const { rows } = await db.query<{
    child_job_id: string;
    parent_job_id: string;
    step: string;
    attempt: number;
    template: unknown;
    deadline_time: Date | null;
    tenant: string;
    traceparent: string | null;
    depth: number;
  }>({
    name: "take_submits",
    text: `with due as (
             select child_job_id, kind from job.errand where kind = 'SUBMIT' limit $1 for update skip locked
           ), taken as (
             delete from job.errand e using due where e.child_job_id = due.child_job_id and e.kind = due.kind
             returning e.child_job_id, e.parent_job_id, e.step, e.attempt, e.template, e.deadline_time
           )
           select taken.*, parent.tenant, parent.traceparent, parent.depth + 1 as depth
             from taken join job.job parent on parent.id = taken.parent_job_id
            order by taken.child_job_id`,
    values: [limit],
  });
  return rows.map((row) => ({
    childJobId: row.child_job_id,
    parentJobId: row.parent_job_id,
    step: row.step,
    attempt: row.attempt,
    template: TemplateUse.fromJSON(row.template),
    deadlineTime: row.deadline_time,
    tenant: row.tenant,
    traceparent: row.traceparent,
    depth: row.depth,
  }));
}

/** Jobs that are to be cancelled with their parents. */
export async function findCancels(db: Db, limit: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ child_job_id: string }>({
    name: "find_cancels",
    text: "select child_job_id from job.errand where kind = 'CANCEL' limit $1",
    values: [limit],
  });
  return rows.map(({ child_job_id }) => child_job_id);
}

/** These are cancelled in this transaction. One that was never submitted has ended with that, and its parent is to be told. */
export async function doneCancels(db: Db, childJobIds: readonly string[]): Promise<void> {
  await db.query({
    name: "done_cancels",
    text: `with done as (
             delete from job.errand
              where (child_job_id, kind) in (
                      select child_job_id, kind from job.errand
                       where child_job_id = any($1::uuid[]) and kind = 'CANCEL' order by child_job_id for update)
             returning child_job_id, parent_job_id, step, attempt
           )
           insert into job.errand (child_job_id, kind, parent_job_id, step, attempt)
           select child_job_id, 'TELL', parent_job_id, step, attempt
             from done
            where not exists (select from job.job where id = done.child_job_id)
           on conflict do nothing`,
    values: [childJobIds],
  });
}

/** The end of a job, and whose sub-job it was. */
interface DueTell extends ChildEnd {
  readonly parentJobId: string;
}

/** Jobs whose parents are to be told that they have ended. */
export async function findTells(db: Db, limit: number): Promise<readonly DueTell[]> {
  const { rows } = await db.query<{
    child_job_id: string;
    parent_job_id: string;
    step: string;
    attempt: number;
    refusal: string | null;
    state: JobState | null;
    reason: string;
    message: string;
    result: string | null;
    start_time: Date | null;
  }>({
    name: "find_tells",
    text: `select e.child_job_id, e.parent_job_id, e.step, e.attempt, e.refusal, j.state, j.reason, j.message,
                  j.result::text as result, j.start_time
             from job.errand e left join job.job j on j.id = e.child_job_id
            where e.kind = 'TELL'
            order by e.parent_job_id, e.child_job_id
            limit $1`,
    values: [limit],
  });
  return rows.map(({ state, reason, message, result, ...row }) => ({
    childJobId: row.child_job_id,
    parentJobId: row.parent_job_id,
    step: row.step,
    attempt: row.attempt,
    refusal: row.refusal,
    ended:
      state === null
        ? null
        : {
            state,
            reason,
            message,
            result: result === null ? undefined : JSON.parse(result),
            startTime: row.start_time,
          },
  }));
}

/** Their parents are told in this transaction. */
export async function doneTells(db: Db, childJobIds: readonly string[]): Promise<void> {
  await db.query({
    name: "done_tells",
    text: `delete from job.errand
            where (child_job_id, kind) in (
                    select child_job_id, kind from job.errand
                     where child_job_id = any($1::uuid[]) and kind = 'TELL' order by child_job_id for update)`,
    values: [childJobIds],
  });
}
