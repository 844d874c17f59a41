/** The execution context: two runners on two engines. The moves are the true ones; engines are maps of objects, each call is one transaction. */
import { uuidv5 } from "@capstan/postgres";
import type {
  ExecutionStart,
  StartExecutionsRequest,
  StopExecutionsRequest,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import {
  type Assignment,
  apply,
  assign,
  type Execution,
  type ExecutionEvent,
  isEnded,
  isLive,
  isPublished,
} from "../../services/execution/src/execution.ts";
import {
  fromKind,
  toAssignment,
  toFact,
  toMarkFact,
  toStopRequest,
} from "../../services/execution/src/executionProto.ts";
import { decide, type Observation } from "../../services/execution/src/verdict.ts";
import type { FactLog } from "./facts.ts";
import type { Process, Scheduler } from "./scheduler.ts";
import type { Defect } from "./simulate.ts";

interface Row {
  execution: Execution;
  /** Null: stopped before it was known. */
  readonly assignment: Assignment | null;
  owner: { readonly process: Process; readonly incarnation: number } | null;
  readonly createMs: number;
}

/** A process or a container. */
interface Workload {
  readonly isContainer: boolean;
  readonly runner: Process;
  readonly incarnation: number;
  exitMs: number;
  exitCode: number;
  isStopped: boolean;
}

export interface ExecutionContext {
  readonly rows: ReadonlyMap<string, Row>;
  readonly workloads: ReadonlyMap<string, Workload>;
  /** How often the workload of an execution was started. */
  readonly starts: ReadonlyMap<string, number>;
  start(process: Process, request: StartExecutionsRequest): { outcomes: string[] };
  stop(request: StopExecutionsRequest): void;
  live(): readonly ExecutionStart[];
  /** What a runner does from its start on. */
  begin(process: Process): void;
  /** Removes an object behind everybody's back. */
  removeOne(): void;
}

interface Options {
  readonly scheduler: Scheduler;
  readonly log: FactLog;
  readonly clock: () => number;
  readonly violate: (what: string) => void;
  readonly has: (defect: Defect) => boolean;
}

const leaseMs = 30_000;

export function createExecutionContext({ scheduler, log, clock, violate, has }: Options): ExecutionContext {
  const { random, now } = scheduler;
  const rows = new Map<string, Row>();
  const workloads = new Map<string, Workload>();
  const starts = new Map<string, number>();
  const holding = new Map<Process, { readonly incarnation: number; readonly ids: Set<string> }>();
  let facts = 0;

  const isOwn = (row: Row, process: Process) =>
    row.owner?.process === process && row.owner.incarnation === process.incarnation;
  const isGone = ({ owner }: Row) =>
    owner !== null && (owner.process.incarnation !== owner.incarnation || isSilent(owner.process));
  /** Its lease is over. */
  const isSilent = ({ pause }: Process) => pause !== null && now() - pause.sinceMs > leaseMs;
  const factId = () => uuidv5(`simulated fact ${++facts}`);

  function save(row: Row, event: ExecutionEvent): void {
    const { assignment } = row;
    if (assignment === null) return;
    row.execution = apply(row.execution, event);
    if (!isPublished(event)) return;
    const { execution } = row;
    log.append([
      toFact(event, { factId: factId(), assignment, execution, traceparent: null, startTime: null, log: null }),
    ]);
  }

  /** As the engine does it: what is there by this name is not made twice, and what has exited is not started again. */
  function startWorkload(process: Process, id: string, isContainer: boolean): void {
    const there = workloads.get(id);
    if (there !== undefined) return;
    const exitMs = now() + random.below(random.pick([30, 4_000, 4_000, 120_000]));
    const exitCode = random.chance(0.75) ? 0 : 1;
    const { incarnation } = process;
    workloads.set(id, { isContainer, runner: process, incarnation, exitMs, exitCode, isStopped: false });
    starts.set(id, (starts.get(id) ?? 0) + 1);
    if ((starts.get(id) ?? 0) > 1) violate(`the workload of ${id} was started twice`);
    if (rows.get(id)?.execution.state === undefined) violate(`the workload of ${id} was started without an execution`);
  }

  /** What is there of it; a process dies with its runner. */
  function look(id: string): Workload | null {
    const found = workloads.get(id) ?? null;
    if (found !== null && !found.isContainer && found.runner.incarnation !== found.incarnation) {
      workloads.delete(id);
      return null;
    }
    return found;
  }

  /** What a runner knows of an execution that it drives. */
  interface Driven {
    readonly process: Process;
    readonly id: string;
    readonly row: Row;
    readonly fence: number;
  }

  const mayWrite = ({ row, fence }: Driven) => row.execution.fence === fence;

  /** Until it is saved, or it is somebody else's. */
  async function observe(driven: Driven, observation: Observation): Promise<void> {
    const write = () => {
      const event = mayWrite(driven) ? moveBy(driven.row, observation) : null;
      if (event !== null) save(driven.row, event);
      return true;
    };
    while (!(await scheduler.io(driven.process, `save ${observation.type}`, write).catch(() => false)));
  }

  async function drive(process: Process, id: string, fence: number, origin: "begin" | "takenOver"): Promise<void> {
    const row = rows.get(id);
    if (row === undefined || row.assignment === null) return;
    const driven: Driven = { process, id, row, fence };
    if (origin === "begin" && !(await startUntilAnswered(driven))) return;
    for (let isOver = false; !isOver; ) {
      const seen = await scheduler.io(process, "inspect workload", () => ({ found: look(id) })).catch(() => null);
      if (seen === null) continue;
      if (!mayWrite(driven)) return;
      isOver = await follow(driven, seen.found);
      if (!isOver) await scheduler.sleep(process, 100 + random.below(900));
    }
    if (!isLive(row.execution))
      await scheduler.io(process, "remove workload", () => workloads.delete(id)).catch(() => {});
  }

  /** Whether it began is not known until that is answered: it is asked for again. False: it was stopped before. */
  async function startUntilAnswered({ process, id, row, fence }: Driven): Promise<boolean> {
    const isContainer = row.assignment?.kind === "DOCKER";
    for (;;) {
      if (row.execution.state === "STOPPING") {
        // Something may be there all the same, if it was asked for: then it is looked after, and stopped.
        if (look(id) !== null) return true;
        await observe({ process, id, row, fence }, { type: "neverStarted" });
        return false;
      }
      const isAnswered = await scheduler
        .io(process, "start workload", () => startWorkload(process, id, isContainer))
        .then(() => true)
        .catch(() => false);
      if (isAnswered) return true;
    }
  }

  /** What is seen of it; true when that was its end. */
  async function follow(driven: Driven, found: Workload | null): Promise<boolean> {
    const { process, row } = driven;
    if (found === null) {
      await observe(driven, { type: "gone", message: "it is gone" });
      return true;
    }
    if (!row.execution.hasStarted) await observe(driven, { type: "started", ref: driven.id, time: new Date(clock()) });
    if (row.execution.state === "STOPPING" && !found.isStopped) {
      await scheduler.io(process, "stop workload", () => stopWorkload(found)).catch(() => {});
    }
    if (found.exitMs > now()) return false;
    const exit = { exitCode: found.exitCode, signal: null, outOfMemory: false, endTime: new Date(clock()) };
    const stopTime = found.isStopped ? new Date(clock()) : null;
    await observe(driven, { type: "exited", exit, stopTime, output: { type: "none" }, memoryMib: 0 });
    return true;
  }

  function stopWorkload(found: Workload): void {
    if (found.exitMs <= now()) return;
    found.isStopped = true;
    found.exitMs = now();
    found.exitCode = 137;
  }

  function hold(process: Process, id: string, origin: "begin" | "takenOver"): void {
    const held = holding.get(process);
    const row = rows.get(id);
    if (held?.incarnation !== process.incarnation || row === undefined || held.ids.has(id)) return;
    held.ids.add(id);
    void drive(process, id, row.execution.fence, origin);
  }

  function take(
    process: Process,
    which: (row: Row) => boolean,
  ): readonly { id: string; origin: "begin" | "takenOver" }[] {
    return [...rows].flatMap(([id, row]) => {
      if (!isLive(row.execution) || !which(row)) return [];
      const wasMine = isOwn(row, process);
      const origin = wasMine && row.execution.fence === 1 ? "begin" : "takenOver";
      row.owner = { process, incarnation: process.incarnation };
      row.execution = { ...row.execution, fence: row.execution.fence + 1 };
      return [{ id, origin } as const];
    });
  }

  async function takeOver(process: Process): Promise<void> {
    const { incarnation } = process;
    for (;;) {
      await scheduler.sleep(process, 1_000 + random.below(10_000));
      const taken = await scheduler
        .io(process, "take over", () => {
          const isUnheld = ([id, row]: [string, Row]) =>
            isOwn(row, process) && row.owner?.incarnation === incarnation && holding.get(process)?.ids.has(id) !== true;
          const unheld = new Set([...rows].filter(isUnheld).map(([, row]) => row));
          return take(process, (row) => isGone(row) || unheld.has(row));
        })
        .catch(() => []);
      for (const { id, origin } of taken) hold(process, id, origin);
    }
  }

  async function reap(process: Process): Promise<void> {
    for (;;) {
      await scheduler.sleep(process, 30_000);
      await scheduler
        .io(process, "reap", () => {
          for (const id of workloads.keys()) {
            const row = rows.get(id);
            if (look(id) !== null && (row === undefined || !isLive(row.execution))) workloads.delete(id);
          }
        })
        .catch(() => {});
    }
  }

  return {
    rows,
    workloads,
    starts,
    start(process, request) {
      const added: string[] = [];
      const outcomes = request.starts.map((start) => {
        const id = start.executionId;
        const there = rows.get(id);
        if (there !== undefined) {
          if (!isLive(there.execution)) log.requeueTerminal(id);
          return there.assignment === null ? "START_OUTCOME_STOPPED" : "START_OUTCOME_REPEATED";
        }
        const kind = fromKind(start.kind);
        if (kind === null || start.spec === undefined) throw new Error("a bad start");
        const assignment = toAssignment(start, kind, start.spec);
        const owner = { process, incarnation: process.incarnation };
        rows.set(id, { execution: assign(id, "STARTING"), assignment, owner, createMs: now() });
        added.push(id);
        return "START_OUTCOME_ACCEPTED";
      });
      // The commit is answered a moment later, or never.
      if (!(scheduler.isChaotic && random.chance(0.03))) {
        const { incarnation } = process;
        scheduler.after(1, () => {
          if (process.incarnation === incarnation) for (const id of added) hold(process, id, "begin");
        });
      }
      return { outcomes };
    },
    stop(request) {
      for (const message of request.stops) {
        const stop = toStopRequest(message);
        if (stop === null) throw new Error("a bad stop");
        const row = rows.get(stop.id);
        if (row === undefined) {
          if (has("stops of unknown executions are forgotten")) continue;
          const execution: Execution = { ...assign(stop.id, "ASSIGNED"), state: "CANCELLED", sequence: 1 };
          rows.set(stop.id, { execution, assignment: null, owner: null, createMs: now() });
          log.append([toMarkFact(stop, factId())]);
        } else if (!isLive(row.execution)) log.requeueTerminal(stop.id);
        else {
          const event = moveBy(row, { type: "stopAsked", stop });
          if (event !== null) save(row, event);
        }
      }
    },
    live: () =>
      [...rows].flatMap(([executionId, { execution, assignment, createMs }]) => {
        if (!isLive(execution) || assignment === null || createMs > now() - 30_000) return [];
        const { tenant, jobId, step, attempt } = assignment;
        return [{ executionId, tenant, jobId, step, attempt } as ExecutionStart];
      }),
    begin(process) {
      holding.set(process, { incarnation: process.incarnation, ids: new Set() });
      void takeOver(process);
      void reap(process);
    },
    removeOne() {
      // Of one that is just being asked for nobody can tell that it was there.
      const ids = [...workloads.keys()].filter((id) => rows.get(id)?.execution.hasStarted === true);
      if (ids.length > 0) workloads.delete(random.pick(ids));
    },
  };

  function moveBy(row: Row, observation: Observation): ExecutionEvent | null {
    const event = decide(row.execution, observation);
    if (event !== null && isEnded(event) && !isLive(row.execution))
      violate(`execution ${row.execution.id} ended twice`);
    return event;
  }
}
