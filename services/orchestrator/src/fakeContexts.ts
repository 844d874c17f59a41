/**
 * The internal services of the other contexts over real gRPC, for the specs beside this file. They keep their promises (a command
 * repeated is answered as it was, a release that comes first is remembered); what else they do is told by the test.
 */
import { type GrpcServer, type ServiceRegistration, serve, unary } from "@capstan/grpc";
import {
  ExecutionInternalServiceService,
  type LiveExecution,
  type StartExecutionsRequest,
  type StopExecutionsRequest,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import {
  type CancelJobsRequest,
  type FindEndedJobsRequest,
  JobInternalServiceService,
  type ListOpenAttemptsRequest,
  type LoggedJobEvent,
  type OpenAttempt,
  type ReadJobEventsRequest,
  type ReportExecutionsRequest,
  type SetQueueLimitsRequest,
} from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import {
  type CapacityAnswer,
  type CapacityRequest,
  type ConfirmReservationsRequest,
  type ListLiveReservationsRequest,
  ProviderInternalServiceService,
  type ReleaseReservationsRequest,
  type ReserveCapacityRequest,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { createTestLog } from "../../../test/support/database.ts";

export type Context = "job" | "provider" | "execution";
export type Method = "reserve" | "confirm" | "release" | "start" | "stop" | "report" | "cancel" | "limit";

/** One item of a call. */
export interface Asked {
  readonly method: Method;
  /** The saga's, which is the reservation's and the execution's too. */
  readonly id: string;
  readonly jobId: string;
  /** Of a report: `STARTED` and the like. */
  readonly outcome: string;
}

export interface FakeContexts {
  /** What the orchestrator needs to find them. */
  readonly env: Readonly<Record<string, string>>;
  /** Every item, in order; also of calls that were refused or never answered. */
  readonly asked: Asked[];
  /** Slots by provider; one that is not here has room without end. A step that names no provider goes to `local`. */
  readonly slots: Map<string, number>;
  /** What a reconciler is told of: nothing, unless the test says so. */
  readonly left: Left;
  /** Called when a call has done its work, before its answer; what this throws is the answer. */
  onAnswer: (method: Method, items: readonly Asked[]) => Promise<void> | void;
  /** Its server goes away. */
  leave(context: Context): Promise<void>;
  /** Its server is there again, at the same address; nothing changes if it never left. */
  comeBack(context: Context): Promise<void>;
  close(): Promise<void>;
}

/** What the contexts have, by their own account. */
export interface Left {
  attempts: readonly OpenAttempt[];
  events: readonly LoggedJobEvent[];
  /** Jobs whose events cannot be read. */
  unreadableJobs: readonly string[];
  endedJobs: readonly string[];
  cancellingJobs: readonly string[];
  reservations: readonly string[];
  executions: readonly LiveExecution[];
}

type Note = (method: Method, items: readonly Partial<Asked>[]) => Promise<void>;

export async function startFakeContexts(): Promise<FakeContexts> {
  const slots: FakeContexts["slots"] = new Map();
  const asked: Asked[] = [];
  const note: Note = async (method, items) => {
    const noted = items.map((item): Asked => ({ id: "", jobId: "", outcome: "", ...item, method }));
    asked.push(...noted);
    await fake.onAnswer(method, noted);
  };
  const left: Left = {
    ...{ attempts: [], events: [], unreadableJobs: [], endedJobs: [], cancellingJobs: [] },
    ...{ reservations: [], executions: [] },
  };
  const services = {
    job: fakeJob(note, left),
    provider: fakeProvider(note, slots, left),
    execution: fakeExecution(note, left),
  };
  const away = new Set<Context>();
  const servers = {
    job: await listen(services.job),
    provider: await listen(services.provider),
    execution: await listen(services.execution),
  };
  const fake: FakeContexts = {
    env: {
      CAPSTAN_JOB_ADDRESS: `127.0.0.1:${servers.job.port}`,
      CAPSTAN_PROVIDER_ADDRESS: `127.0.0.1:${servers.provider.port}`,
      CAPSTAN_EXECUTION_ADDRESS: `127.0.0.1:${servers.execution.port}`,
    },
    asked,
    slots,
    left,
    onAnswer: () => {},
    leave(context) {
      away.add(context);
      return servers[context].stop();
    },
    async comeBack(context) {
      if (away.delete(context)) servers[context] = await listen(services[context], servers[context].port);
    },
    async close() {
      for (const server of Object.values(servers)) await server.stop();
    },
  };
  return fake;
}

function listen(service: ServiceRegistration, port = 0): Promise<GrpcServer> {
  const address = `127.0.0.1:${port}`;
  return serve({ address, services: [service], health: () => true, drainMs: 100, log: createTestLog() });
}

/** So many are told of at once, where a test leaves more. */
const pageSize = 2;

function pageOf<T>(all: readonly T[], pageToken: string): { readonly items: T[]; readonly nextPageToken: string } {
  const from = Number(pageToken);
  const next = from + pageSize;
  return { items: all.slice(from, next), nextPageToken: next < all.length ? String(next) : "" };
}

function fakeJob(note: Note, left: Left): ServiceRegistration {
  const implementation = {
    reportExecutions: unary(async ({ reports }: ReportExecutionsRequest) => {
      const outcomeOf = (outcome: string) => outcome.slice("EXECUTION_OUTCOME_".length);
      await note(
        "report",
        reports.map(({ causationId: id, jobId, outcome }) => ({ id, jobId, outcome: outcomeOf(outcome) })),
      );
      return { outcomes: reports.map(() => "REPORT_OUTCOME_APPLIED" as const) };
    }),
    cancelJobs: unary(async ({ jobIds }: CancelJobsRequest) => {
      await note(
        "cancel",
        jobIds.map((jobId) => ({ jobId })),
      );
      return { cancelledIds: jobIds };
    }),
    setQueueLimits: unary(async ({ limits }: SetQueueLimitsRequest) => {
      await note(
        "limit",
        limits.map(({ queue, maxDepth }) => ({ id: queue, outcome: String(maxDepth) })),
      );
      return {};
    }),
  };
  const readings = {
    listOpenAttempts: unary(async ({ pageToken }: ListOpenAttemptsRequest) => {
      const { items: attempts, nextPageToken } = pageOf(left.attempts, pageToken);
      return { attempts, nextPageToken };
    }),
    readJobEvents: unary(async ({ cursors }: ReadJobEventsRequest) => {
      if (cursors.some(({ jobId }) => left.unreadableJobs.includes(jobId))) throw new Error("cannot be read");
      const pages = cursors.map(({ afterSequence }) => ({
        ...{ found: true, sequence: left.events.length, hasEnded: false, labels: {} },
        events: left.events.filter(({ sequence }) => sequence > afterSequence),
      }));
      return { pages };
    }),
    findEndedJobs: unary(async ({ jobIds }: FindEndedJobsRequest) => ({
      endedIds: jobIds.filter((id) => left.endedJobs.includes(id)),
      unknownIds: [],
      cancellingIds: jobIds.filter((id) => left.cancellingJobs.includes(id)),
    })),
  };
  return { definition: JobInternalServiceService, implementation: { ...implementation, ...readings } };
}

function fakeExecution(note: Note, left: Left): ServiceRegistration {
  const implementation = {
    startExecutions: unary(async ({ starts }: StartExecutionsRequest) => {
      await note(
        "start",
        starts.map(({ executionId: id, jobId }) => ({ id, jobId })),
      );
      return { outcomes: starts.map(() => "START_OUTCOME_ACCEPTED" as const) };
    }),
    stopExecutions: unary(async ({ stops }: StopExecutionsRequest) => {
      await note(
        "stop",
        stops.map(({ executionId: id, jobId }) => ({ id, jobId })),
      );
      return {};
    }),
    listLiveExecutions: unary(async () => ({ executions: [...left.executions], nextPageToken: "" })),
  };
  return { definition: ExecutionInternalServiceService, implementation };
}

function fakeProvider(note: Note, slots: ReadonlyMap<string, number>, left: Left): ServiceRegistration {
  const heldBy = new Map<string, { readonly name: string; readonly answer: CapacityAnswer }>();
  const released = new Set<string>();

  function hold({ reservationId, placement }: CapacityRequest): CapacityAnswer {
    const before = heldBy.get(reservationId);
    if (before !== undefined) return before.answer;
    const name = placement?.provider || "local";
    const inUse = [...heldBy].filter(([id, held]) => held.name === name && !released.has(id)).length;
    if (released.has(reservationId) || inUse >= (slots.get(name) ?? Number.POSITIVE_INFINITY)) {
      const value = { reason: "REASON_NO_CAPACITY" as const, message: `${name} is full`, failures: [] };
      return { outcome: { $case: "refused", value } };
    }
    const place = { providerId: name, providerName: name, kind: "PROVIDER_KIND_PROCESS" as const, endpoint: "" };
    const answer: CapacityAnswer = { outcome: { $case: "held", value: { ...place, score: 1, message: "" } } };
    heldBy.set(reservationId, { name, answer });
    return answer;
  }

  const implementation = {
    reserveCapacity: unary(async ({ requests }: ReserveCapacityRequest) => {
      const answers = requests.map(hold);
      await note(
        "reserve",
        requests.map(({ reservationId: id, jobId }) => ({ id, jobId })),
      );
      return { answers };
    }),
    confirmReservations: unary(async ({ reservationIds }: ConfirmReservationsRequest) => {
      await note(
        "confirm",
        reservationIds.map((id) => ({ id })),
      );
      return { expiredIds: reservationIds.filter((id) => released.has(id)) };
    }),
    releaseReservations: unary(async ({ reservationIds }: ReleaseReservationsRequest) => {
      for (const id of reservationIds) released.add(id);
      await note(
        "release",
        reservationIds.map((id) => ({ id })),
      );
      return { released: reservationIds.length };
    }),
    listLiveReservations: unary(async ({ pageToken }: ListLiveReservationsRequest) => {
      const { items: reservationIds, nextPageToken } = pageOf(left.reservations, pageToken);
      return { reservationIds, nextPageToken };
    }),
    listProbeTargets: unary(async () => ({ targets: [] })),
    reportHealth: unary(async () => ({})),
    reportPools: unary(async () => ({ answers: [] })),
  };
  return { definition: ProviderInternalServiceService, implementation };
}
