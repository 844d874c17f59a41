/** The service as its own process among contexts that the test plays, for the specs beside this file. */
import { connectTo, type PromiseClient } from "@capstan/grpc";
import { migrate } from "@capstan/postgres";
import { QueueServiceClient } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { Saga } from "@capstan/proto/capstan/orchestrator/v1/saga.ts";
import { SagaServiceClient } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { createTestDatabase, noMigrations, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { createServiceProcess } from "../../../test/support/serviceProcess.ts";
import { type FakeContexts, startFakeContexts } from "./fakeContexts.ts";
import { type FakeFacts, startFakeFacts } from "./fakeFacts.ts";
import { sagaId } from "./runJob.ts";

export interface TestOrchestrator {
  readonly sagas: PromiseClient<SagaServiceClient>;
  readonly queues: PromiseClient<QueueServiceClient>;
  /** Sends the signal and answers when the process has ended: its exit code, or the name of the signal. */
  end(signal: "SIGTERM" | "SIGKILL"): Promise<number | string>;
}

export interface TestWorld {
  readonly database: TestDatabase;
  readonly nats: TestNats;
  readonly contexts: FakeContexts;
  readonly facts: FakeFacts;
  /** Starts an orchestrator; answers when it is ready. */
  start(env?: Readonly<Record<string, string>>): Promise<TestOrchestrator>;
  /** Ends every orchestrator and closes the rest. */
  close(): Promise<void>;
}

export async function openTestWorld(): Promise<TestWorld> {
  const [database, nats] = await Promise.all([createTestDatabase("orchestrator", "job", "execution"), startTestNats()]);
  for (const schema of ["job", "execution"]) {
    await migrate({ url: database.urlOf(schema), schema, directory: noMigrations });
  }
  const [contexts, facts] = await Promise.all([startFakeContexts(), startFakeFacts(database, nats.url)]);
  const running = new Set<TestOrchestrator>();

  async function start(env: Readonly<Record<string, string>> = {}): Promise<TestOrchestrator> {
    const service = createServiceProcess({
      name: "orchestrator",
      grpcAddress: "127.0.0.1:0",
      healthAddress: "127.0.0.1:0",
      env: {
        ...bareEnv,
        CAPSTAN_DATABASE_URL: database.urlOf("orchestrator"),
        CAPSTAN_NATS_URL: nats.url,
        ...contexts.env,
        ...env,
      },
    });
    await service.start();
    const address = String(service.log.findLast(({ msg }) => msg === "ready")?.["grpcAddress"]);
    const sagas = connectTo(SagaServiceClient, address);
    const queues = connectTo(QueueServiceClient, address);
    const orchestrator: TestOrchestrator = {
      sagas,
      queues,
      async end(signal) {
        running.delete(orchestrator);
        sagas.close();
        queues.close();
        return service.kill(signal);
      },
    };
    running.add(orchestrator);
    return orchestrator;
  }

  return {
    database,
    nats,
    contexts,
    facts,
    start,
    async close() {
      await Promise.all([...running].map((orchestrator) => orchestrator.end("SIGTERM")));
      await Promise.all([facts.close(), contexts.close()]);
      await Promise.all([database.drop(), nats.release()]);
    },
  };
}

/** The saga of a job's first attempt. */
export async function sagaOf({ sagas }: TestOrchestrator, jobId: string): Promise<Saga> {
  const { saga } = await sagas.getSaga({ sagaId: sagaId(jobId, "main", 1) });
  if (saga === undefined) throw new Error("the answer has no saga");
  return saga;
}

/** The stage it is in, without its prefix; fails while there is none. */
export async function stageOf(orchestrator: TestOrchestrator, jobId: string): Promise<string> {
  return (await sagaOf(orchestrator, jobId)).stage.slice("SAGA_STAGE_".length);
}

/** Lets the time pass at which live sagas of a stage are looked at again. */
export async function passWakeup({ database }: Pick<TestWorld, "database">, stage: string): Promise<void> {
  await queryOnce(
    database.adminUrl,
    "update orchestrator.saga set wakeup_time = clock_timestamp(), claim_until = '-infinity' where stage = $1 and wakeup_time is not null",
    [stage],
  );
}

/** What was asked about a job, in order: `reserve`, `start`, `report STARTED` and the like. */
export function askedAbout({ asked }: Pick<FakeContexts, "asked">, jobId: string): readonly string[] {
  const id = sagaId(jobId, "main", 1);
  return asked
    .filter((item) => item.id === id)
    .map(({ method, outcome }) => (outcome === "" ? method : `${method} ${outcome}`));
}

/** The jobs whose start was asked for, in order. */
export function startedJobs({ asked }: Pick<FakeContexts, "asked">): readonly string[] {
  return asked.filter(({ method }) => method === "start").map(({ jobId }) => jobId);
}
