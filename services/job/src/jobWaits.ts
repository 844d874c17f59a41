/** The RPCs for jobs that wait: decisions, signals, pause and resume. Each reads: check the request, decide, save, answer. */
import { invalid } from "@capstan/errors";
import { type Call, unary } from "@capstan/grpc";
import type { Db, Pool } from "@capstan/postgres";
import type { JobServiceServer } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { decideApproval, saidOf } from "./approval.ts";
import { checkLine } from "./fieldChecks.ts";
import type { Job } from "./job.ts";
import { toMessage } from "./jobMessage.ts";
import type { JobView } from "./jobQueries.ts";
import type { Decide, MoveJobs } from "./moveJobs.ts";
import type { Flow, Passed } from "./pass.ts";
import { pauseJob, resumeJob } from "./pause.ts";
import { checkSignal, deliverSignal, reusedRequestId } from "./signal.ts";
import { findSignal, insertSignal } from "./signalStore.ts";

interface JobWaitsOptions {
  readonly pool: Pool;
  readonly moveJobs: MoveJobs;
  readonly readJob: (jobId: string, call: Call) => Promise<JobView>;
}

type WaitRpcs = Pick<JobServiceServer, "decideApproval" | "sendSignal" | "pauseJob" | "resumeJob">;

export function createJobWaits({ pool, moveJobs, readJob }: JobWaitsOptions): WaitRpcs {
  async function move(
    jobId: string,
    call: Call,
    decide: (job: Job, flow: Flow | null, now: Date) => Passed | null,
    prepare?: (db: Db) => Promise<void>,
  ) {
    const decideOne: Decide = (job, now, flow) => decide(job, flow, now) ?? undefined;
    await moveJobs([jobId], decideOne, prepare);
    return { job: toMessage(await readJob(jobId, call)) };
  }

  return {
    decideApproval: unary(async (request, call) => {
      const said = saidOf(request);
      const { id } = await readJob(request.jobId, call);
      return move(id, call, (job, flow, now) => decideApproval(job, said, flow, now, call.requestId));
    }),

    sendSignal: unary(async (request, call) => {
      checkSignal(request);
      const { id: jobId } = await readJob(request.jobId, call);
      const { name, payload } = request;
      const requestId = request.requestId || null;
      let number: string | null = null;
      const { job } = await move(
        jobId,
        call,
        (job, flow, now) => (number === null ? null : deliverSignal(job, name, flow, now, call.requestId)),
        async (db) => {
          number = await insertSignal(db, { jobId, name, payload, requestId });
        },
      );
      const kept = await findSignal(pool, { jobId, number, requestId });
      if (kept !== null && kept.name !== name) throw reusedRequestId(jobId, kept.name);
      return { job, taken: kept !== null && kept.step !== null };
    }),

    pauseJob: unary(async ({ jobId, message }, call) => {
      const violations: { field: string; description: string }[] = [];
      checkLine(message, "message", 256, (field, description) => violations.push({ field, description }));
      if (violations.length > 0) throw invalid(violations);
      const { id } = await readJob(jobId, call);
      return move(id, call, (job, _flow, now) => pauseJob(job, message, now, call.requestId));
    }),

    resumeJob: unary(async ({ jobId }, call) => {
      const { id } = await readJob(jobId, call);
      return move(id, call, (job, flow, now) => resumeJob(job, flow, now, call.requestId));
    }),
  };
}
