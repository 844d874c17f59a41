/**
 * The product of failpoints, stages and modes, all of it. A stage of SQL is the context and the first statement that writes, and where a
 * statement serves many stages of a job, the word that tells which. A test holds this table against what passes and against the source.
 */
import type { Armed, FailpointMode, PointName } from "../../libs/failpoints/src/failpoint.ts";
import type { JobKind } from "./faultJobs.ts";

/** An operation that can be failed. */
export interface Place {
  readonly point: PointName;
  readonly stage: string;
  readonly word?: string;
  /** The kind of job that passes it; the common ones if absent. */
  readonly by?: JobKind;
}

/** All but `block`, of which bad days are made. */
export const modes = ["kill", "doThenKill", "throw", "doThenThrow", "delay", "hang"] as const satisfies FailpointMode[];

/** Modes that a point does not have, and why. */
const without: Partial<Record<PointName, { readonly modes: readonly FailpointMode[]; readonly why: string }>> = {
  handle: {
    modes: ["hang"],
    why: "all that a handler waits for is a statement or a call, and these hang under their own names",
  },
};

/** Operations of a backend other than these bring their own deadline to what they wait for, and have none around them. */
const hangable = ["PROCESS.start", "PROCESS.probe", "DOCKER.start", "WORKER.start"];

const stagesOf: Record<PointName, readonly (string | readonly [stage: string, word: string])[]> = {
  // The COMMIT of a transaction.
  commit: [
    ["job.insert_jobs", "job.submitted"],
    ["job.save_jobs", "job.started"],
    ["job.save_jobs", "step.started"],
    ["job.save_jobs", "step.backed_off"],
    ["job.save_jobs", "step.ready"],
    ["job.save_jobs", "step.succeeded"],
    ["job.save_jobs", "job.succeeded"],
    ["job.save_jobs", "job.cancelling"],
    ["job.save_jobs", "job.cancelled"],
    "provider.insert_reservations",
    "provider.end_reservations",
    ["execution.save_moves", "execution.started"],
    ["execution.save_moves", "execution.succeeded"],
    ["execution.save_moves", "execution.failed"],
    ["execution.save_moves", "execution.cancelled"],
    "execution.stop_executions",
    ["orchestrator.save_sagas", "saga.compensated"],
    // After the publish, before the mark: what was published is taken off the list by this.
    "job.relay_remove",
    "provider.relay_remove",
    "execution.relay_remove",
    "orchestrator.relay_remove",
  ],
  // A statement that is a transaction of its own.
  write: [
    "orchestrator.insert_sagas",
    ["orchestrator.save_sagas", "RESERVED"],
    ["orchestrator.save_sagas", "STARTED"],
    ["orchestrator.save_sagas", "COMPENSATING"],
    ["orchestrator.save_sagas", "DONE"],
    "orchestrator.claim_overdue",
    "provider.confirm_reservations",
    "execution.add_executions",
    "execution.add_chunks",
    "execution.renew_runner",
  ],
  publish: ["job", "provider", "execution", "orchestrator"],
  // Before and after the record of a fact that arrived.
  handle: ["orchestrator-job", "orchestrator-execution"],
  // After the record, before the ack.
  ack: ["orchestrator-job", "orchestrator-execution"],
  // Of one service at another, as the caller sees it.
  call: [
    "ReserveCapacity",
    "StartExecutions",
    "ConfirmReservations",
    "ReportExecutions",
    "ReleaseReservations",
    "StopExecutions",
    "ListProbeTargets",
    "ReportHealth",
    "ListOpenAttempts",
    "ListLiveReservations",
    "ListLiveExecutions",
  ],
  // The same and those of users, in the service that answers.
  answer: [
    "SubmitJob",
    "CancelJob",
    "ReserveCapacity",
    "StartExecutions",
    "ConfirmReservations",
    "ReportExecutions",
    "ReleaseReservations",
    "StopExecutions",
    "ListProbeTargets",
    "ReportHealth",
    "ListOpenAttempts",
    "ListLiveReservations",
    "ListLiveExecutions",
  ],
  // After the effect, before its record.
  backend: ["PROCESS.start", "PROCESS.stop", "PROCESS.remove", "PROCESS.list", "PROCESS.probe"],
};

export const points = Object.keys(stagesOf) as PointName[];

/** What only some kinds of jobs pass, or pass in a way of their own. */
const placesOfKinds: readonly (Required<Pick<Place, "by">> & Place)[] = [
  { by: "handled", point: "write", stage: "execution.add_executions", word: "WORKER" },
  { by: "handled", point: "write", stage: "execution.renew_workers" },
  { by: "handled", point: "commit", stage: "execution.save_moves", word: "execution.started" },
  { by: "handled", point: "commit", stage: "execution.save_moves", word: "execution.succeeded" },
  { by: "handled", point: "backend", stage: "WORKER.start" },
  { by: "handled", point: "backend", stage: "WORKER.remove" },
  { by: "contained", point: "write", stage: "execution.add_executions", word: "DOCKER" },
  { by: "contained", point: "commit", stage: "execution.save_moves", word: "execution.started" },
  { by: "contained", point: "commit", stage: "execution.save_moves", word: "execution.succeeded" },
  { by: "contained", point: "backend", stage: "DOCKER.start" },
  { by: "contained", point: "backend", stage: "DOCKER.remove" },
  // It waits from its submit on; what it waits for is decided, and the step after it begins.
  { by: "approved", point: "commit", stage: "job.insert_jobs", word: "SUSPENDED" },
  { by: "approved", point: "commit", stage: "job.save_jobs", word: "step.succeeded" },
  { by: "approved", point: "answer", stage: "DecideApproval" },
  { by: "scheduled", point: "commit", stage: "job.append_facts", word: "schedule.created" },
  { by: "scheduled", point: "commit", stage: "job.insert_jobs", word: "schedule.fired" },
  { by: "scheduled", point: "answer", stage: "CreateSchedule" },
];

export const places: readonly Place[] = [
  ...points.flatMap((point) =>
    stagesOf[point].map((each): Place => {
      if (typeof each === "string") return { point, stage: each };
      const [stage, word] = each;
      return { point, stage, word };
    }),
  ),
  ...placesOfKinds,
];

/** What passes failpoints and is in no case, and why. */
export const passedBy: Readonly<Record<string, string>> = {
  "answer RegisterProvider": "a provider is registered before any job",
  "answer GetProvider": "nothing is changed",
  "backend PROCESS.adopt": "only after a death, and there is nothing that outlived it",
  "commit execution.add_chunks": "an end, as in execution.save_moves, that takes its last output along",
  "commit provider.append_facts": "a provider is registered before any job",
  "commit execution.append_facts": "only where something had to be put right",
  "commit orchestrator.append_facts": "only where something had to be put right",
  "commit provider.save_providers": "the health of a provider changes at the start",
  "commit provider.insert_providers": "a provider is registered before any job",
  "write provider.delete_ended_reservations": "what ended a day ago is forgotten in passing",
  "write execution.requeue_terminal_facts": "only where a stop meets an end",
  "write orchestrator.claim_first": "only where something waits",
  "write orchestrator.claim_sagas": "only where something waits",
  "answer WaitJob": "nothing is changed",
  "call FindEndedJobs": "only where a saga lives longer than from one look of the reconciler to the next",
  "answer FindEndedJobs": "only where a saga lives longer than from one look of the reconciler to the next",
  "call ReadJobEvents": "only where the reconciler has found something",
  "answer ReadJobEvents": "only where the reconciler has found something",
  "backend DOCKER.probe": "only where an engine answers, and nothing is run on it here",
  "backend DOCKER.list": "only where an engine answers, and nothing is run on it here",
  "answer GetJob": "nothing is changed",
};

export function modesOf({ point, stage }: Place): readonly FailpointMode[] {
  const left = modes.filter((mode) => without[point]?.modes.includes(mode) !== true);
  return point === "backend" && !hangable.includes(stage) ? left.filter((mode) => mode !== "hang") : left;
}

/** A place in one mode. */
export type Case = Omit<Armed, "delayMs"> & Pick<Place, "by">;

export const cases: readonly Case[] = places.flatMap((place) =>
  modesOf(place).map((mode): Case => ({ ...place, mode })),
);

export function nameOf({ point, stage, word, by, mode }: Case): string {
  return `${point} ${stage}${word === undefined ? "" : ` ${word}`}${by === undefined ? "" : `, ${by}`}: ${mode}`;
}
