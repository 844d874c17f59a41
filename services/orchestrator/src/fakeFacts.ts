/** The facts of the job and execution contexts, through a real log, relay and stream, for the specs beside this file. */
import { connectNats, createPublisher } from "@capstan/messaging";
import { appendFacts, type Fact, openPool, startRelay, uuidv7 } from "@capstan/postgres";
import { ExecutionEvent } from "@capstan/proto/capstan/execution/v1/execution_event.ts";
import { JobEvent } from "@capstan/proto/capstan/job/v1/job_event.ts";
import { createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { createTestLoops } from "../../../test/support/loops.ts";

export interface FakeFacts {
  /** Answers when they are written; they are on their stream soon after. */
  publish(context: "job" | "execution", ...facts: readonly Fact[]): Promise<void>;
  close(): Promise<void>;
}

/** The database needs the schemas `job` and `execution` with the tables that every schema has. */
export async function startFakeFacts(database: TestDatabase, natsUrl: string): Promise<FakeFacts> {
  const log = createTestLog();
  const app = createTestLoops();
  const nats = await connectNats({ url: natsUrl, name: "test", log });
  const open = (context: string) => {
    const pool = openPool({ url: database.urlOf(context), schema: context, max: 2, log });
    const publish = createPublisher({ nc: nats, context, db: pool, log });
    return { pool, relay: startRelay({ pool, context, publish, log, app }) };
  };
  const contexts = { job: open("job"), execution: open("execution") };
  return {
    async publish(context, ...facts) {
      await appendFacts(contexts[context].pool, facts);
      contexts[context].relay.wake();
    },
    async close() {
      for (const { relay } of Object.values(contexts)) await relay.stop();
      await app.stop();
      for (const { pool } of Object.values(contexts)) await pool.end();
      await nats.close();
    },
  };
}

interface FakeJob {
  readonly jobId?: string;
  readonly priority?: number;
  /** The provider its step asks for by name; any when absent. */
  readonly provider?: string;
  /** With another memory it has another placement key. */
  readonly memoryMib?: number;
  readonly attempt?: number;
  readonly traceparent?: string;
  readonly queue?: string;
  readonly key?: string;
}

function factOf(noun: string, event: string, aggregateId: string, sequence: number, data: object): Fact {
  return {
    id: uuidv7(),
    tenant: "default",
    noun,
    event,
    aggregateId,
    sequence,
    correlationId: "",
    causationId: "",
    traceparent: null,
    data,
  };
}

/** `job.submitted` of a job whose one step is READY. */
export function submitted(fake: FakeJob = {}): Fact {
  const { jobId = uuidv7(), priority = 0, traceparent, queue = "", key: concurrencyKey = "", ...job } = fake;
  const data = JobEvent.fromJSON({ jobId, name: "example", priority, queue, concurrencyKey, steps: [readyStep(job)] });
  return { ...factOf("job", "submitted", jobId, 1, JobEvent.toJSON(data) as object), traceparent: traceparent ?? null };
}

/** `step.ready` of a job of several steps, of which these are READY now. */
export function ready(jobId: string, sequence: number, names: readonly string[]): Fact {
  const steps = names.map((name) => ({ ...readyStep({}), name }));
  return factOf("step", "ready", jobId, sequence, JobEvent.toJSON(JobEvent.fromJSON({ jobId, steps })) as object);
}

/** `job.cancelling`: a user wants the job to end, whose step is still READY or has begun to run. */
export function cancelling(
  jobId: string,
  step: "READY" | "RUNNING" = "RUNNING",
  sparedSteps: readonly string[] = [],
): Fact {
  const reason = "REASON_CANCELLED_BY_USER";
  const steps = step === "READY" ? [readyStep({})] : [];
  const told = { jobId, state: "JOB_STATE_CANCELLING", reason, message: "enough", steps, sparedSteps };
  const data = JobEvent.fromJSON(told);
  return factOf("job", "cancelling", jobId, 2, JobEvent.toJSON(data) as object);
}

/** `job.paused` or `job.resumed`. */
export function pausedOrResumed(event: "paused" | "resumed", jobId: string, sequence: number): Fact {
  return factOf("job", event, jobId, sequence, JobEvent.toJSON(JobEvent.fromJSON({ jobId })) as object);
}

function readyStep({ provider = "", memoryMib = 0, attempt = 1 }: FakeJob): object {
  const spec = { command: ["true"], placement: { provider }, resources: { memoryMib } };
  return { name: "main", state: "STEP_STATE_READY", attempt, spec };
}

/** `execution.started`. */
export function started(executionId: string): Fact {
  return executionFact(executionId, "started", 1);
}

/** The terminal fact of an execution that was started. */
export function ended(executionId: string, event: "succeeded" | "failed" | "cancelled" = "succeeded"): Fact {
  return executionFact(executionId, event, 2);
}

function executionFact(executionId: string, event: string, sequence: number): Fact {
  const data = ExecutionEvent.fromJSON({ executionId, time: new Date().toISOString() });
  return factOf("execution", event, executionId, sequence, ExecutionEvent.toJSON(data) as object);
}
