/**
 * The orchestrator: what a saga does, how its commands are sent and what facts mean for it are the true ones. The shell around them is told
 * again over maps, statement by statement, so that a process may be killed between any two.
 */
import type { ReceivedFact } from "@capstan/messaging";
import type { Settled } from "../../services/orchestrator/src/driveSagas.ts";
import { settleCommands } from "../../services/orchestrator/src/driveSagas.ts";
import { type Contexts, reserve } from "../../services/orchestrator/src/perform.ts";
import {
  type Advance,
  advance,
  advanceAll,
  type Happened,
  isEnded,
  type Saga,
  sagaId,
} from "../../services/orchestrator/src/runJob.ts";
import { cancellationOf, executionNewsOf, newSagasOf, placementOf } from "../../services/orchestrator/src/sagaProto.ts";
import { atTheBeginning, charge, shareTurns } from "../../services/orchestrator/src/shareTurns.ts";
import type { ExecutionContext } from "./executionContext.ts";
import type { Broker, Context } from "./facts.ts";
import type { JobContext } from "./jobContext.ts";
import type { ProviderContext } from "./providerContext.ts";
import type { Process, Scheduler } from "./scheduler.ts";
import type { Defect } from "./simulate.ts";

interface Row {
  saga: Saga;
  wakeMs: number;
  claimMs: number;
  stageMs: number;
}

interface Step {
  readonly saga: Saga;
  readonly happened: readonly Happened[];
}

export interface Orchestrator {
  readonly rows: ReadonlyMap<string, Row>;
  begin(process: Process): void;
}

interface Options {
  readonly scheduler: Scheduler;
  readonly clock: () => number;
  readonly broker: Broker;
  readonly contextsOf: (process: Process) => Contexts;
  readonly jobs: JobContext;
  readonly providers: ProviderContext;
  readonly executions: ExecutionContext;
  readonly violate: (what: string) => void;
  readonly has: (defect: Defect) => boolean;
}

const claimMs = 12_000;

export function createOrchestrator(options: Options): Orchestrator {
  const { scheduler, clock, broker, jobs, providers, executions, violate, has } = options;
  const { random } = scheduler;
  const rows = new Map<string, Row>();

  function saveIn(sagas: readonly Saga[]): Set<string> {
    return new Set(
      sagas.flatMap((saga) => {
        const row = rows.get(saga.id);
        if (row === undefined || isEnded(row.saga.stage)) return [];
        if (row.saga.version !== saga.version) return [];
        const stageMs = row.saga.stage === saga.stage ? row.stageMs : clock();
        rows.set(saga.id, {
          saga: { ...saga, version: row.saga.version + 1 },
          wakeMs: clock() + saga.wakeInMs,
          claimMs: Number.NEGATIVE_INFINITY,
          stageMs,
        });
        return [saga.id];
      }),
    );
  }

  async function drive(process: Process, steps: readonly Step[]): Promise<void> {
    const save = (sagas: readonly Saga[]) => scheduler.io(process, "save sagas", () => saveIn(sagas));
    let pending = steps;
    for (let tries = 0; pending.length > 0; tries += 1) {
      if (tries === 5) throw new Error("moved by too many");
      if (tries > 0) {
        const before = pending;
        pending = await scheduler.io(process, "load sagas", () =>
          before.flatMap(({ saga, happened }) => {
            const row = rows.get(saga.id);
            return row === undefined ? [] : [{ saga: row.saga, happened }];
          }),
        );
      }
      let decided = pending.map(({ saga, happened }) => ({ before: saga, ...advanceAll(saga, happened) }));
      const ending = decided.filter(({ before, saga }) => before.stage === "WAITING" && saga.stage === "SETTLING");
      if (ending.length > 0) {
        const recorded = await save(ending.map(({ saga }) => saga));
        decided = decided.flatMap((each) => {
          if (!ending.includes(each)) return [each];
          const saga = { ...each.saga, version: each.saga.version + 1 };
          return recorded.has(saga.id) ? [{ ...each, before: saga, saga }] : [];
        });
      }
      const settled = await settleCommands(options.contextsOf(process), decided);
      const changed = settled.filter(({ saga }, at) => saga !== decided[at]?.before).map(({ saga }) => saga);
      const saved = changed.length === 0 ? new Set<string>() : await save(changed);
      const isUntold = settled.some(({ saga, isUntold }: Settled) => isUntold && saga.stage !== "SETTLING");
      if (isUntold) throw new Error("something could not be told");
      const same = new Set(settled.filter(({ saga }, at) => saga === decided[at]?.before).map(({ saga }) => saga.id));
      const done = new Set(decided.map(({ saga }) => saga.id));
      pending = pending.filter(({ saga }) => !saved.has(saga.id) && !(same.has(saga.id) && done.has(saga.id)));
    }
  }

  async function handleJobFacts(process: Process, given: readonly ReceivedFact[]): Promise<void> {
    const facts = given.filter(({ noun }) => noun !== "schedule"); // those its consumer does not ask for
    const fresh = facts.flatMap(newSagasOf);
    if (fresh.length > 0) {
      await scheduler.io(process, "insert sagas", () => {
        for (const saga of fresh) {
          if (rows.has(saga.id)) continue;
          const nothing = {
            message: "",
            placed: null,
            outcome: null,
            failures: 0,
            parkedStage: null,
            sequence: 0,
            wakeInMs: 0,
          };
          const begun: Saga = {
            ...saga,
            ...nothing,
            orderTime: saga.readyTime,
            stage: "WAITING",
            reason: "QUEUED",
            version: 1,
          };
          rows.set(saga.id, { saga: begun, wakeMs: clock(), claimMs: Number.NEGATIVE_INFINITY, stageMs: clock() });
        }
      });
    }
    const cancellations = new Map(
      facts.flatMap((fact) => cancellationOf(fact) ?? []).map((each) => [each.jobId, each]),
    );
    if (cancellations.size === 0) return;
    const steps = await scheduler.io(process, "load sagas of jobs", () =>
      [...rows.values()].flatMap(({ saga }): Step[] => {
        const cancellation = cancellations.get(saga.jobId);
        if (cancellation === undefined || isEnded(saga.stage) || !cancellation.isAsked(saga.step)) return [];
        return [
          { saga, happened: [{ type: "cancelled", reason: cancellation.reason, message: cancellation.message }] },
        ];
      }),
    );
    await drive(process, steps);
  }

  async function handleExecutionFacts(process: Process, facts: readonly ReceivedFact[]): Promise<void> {
    const news = Map.groupBy(
      facts.flatMap((fact) => executionNewsOf(fact) ?? []),
      ({ executionId }) => executionId,
    );
    const steps = await scheduler.io(process, "load sagas", () =>
      [...news].flatMap(([id, own]): Step[] => {
        const row = rows.get(id);
        const happened = own.map(
          ({ outcome, time }): Happened => (outcome === null ? { type: "started", time } : { type: "ended", outcome }),
        );
        return row === undefined ? [] : [{ saga: row.saga, happened }];
      }),
    );
    await drive(process, steps);
  }

  async function consume(process: Process, context: Context): Promise<void> {
    const handle = context === "job" ? handleJobFacts : handleExecutionFacts;
    for (;;) {
      await scheduler.sleep(process, 10 + random.below(100));
      try {
        const facts = await scheduler.io(process, "fetch facts", () => broker.fetch(context));
        if (facts.length === 0) continue;
        await handle(process, facts);
        await scheduler.io(process, "acknowledge", () => broker.acknowledge(context, facts));
      } catch {
        // They are delivered again.
      }
    }
  }

  async function every(process: Process, ms: number, once: (process: Process) => Promise<void>): Promise<void> {
    for (;;) {
      await scheduler.sleep(process, ms / 2 + random.below(ms));
      await once(process).catch(() => {});
    }
  }

  let times = atTheBeginning;

  async function placeOnce(process: Process): Promise<void> {
    const claimed = await scheduler.io(process, "claim waiting sagas", () => {
      const waiting = [...rows.values()].filter((row) => row.saga.stage === "WAITING" && row.claimMs <= clock());
      const lanes = [
        ...Map.groupBy(waiting, ({ saga }) => `${saga.queue}/${saga.concurrencyKey}/${saga.placementKey}`).values(),
      ].map((own) => {
        const first = own[0]?.saga;
        const heads = own.map(({ saga }, position) => ({
          id: saga.id,
          orderMs: saga.orderTime.getTime(),
          deadlineMs: saga.deadlineTime?.getTime() ?? Number.POSITIVE_INFINITY,
          position,
        }));
        const [tenant, queue, key] = [first?.tenant ?? "", first?.queue ?? "", first?.concurrencyKey ?? ""];
        return { tenant, queue, key, placementKey: first?.placementKey ?? "", heads };
      });
      const many = () => Number.POSITIVE_INFINITY;
      const room = { isPaused: false, weight: 1, running: many(), rate: many(), runningOfKey: many, rateOfKey: many };
      const limit = 1 + random.below(6);
      const { turns } = shareTurns({ lanes, roomOf: () => room, triesOf: many, limit, times });
      if (new Set(turns.map(({ head }) => head.id)).size !== turns.length) violate("a turn was given twice");
      times = charge(
        times,
        turns.map(({ lane }) => lane),
        () => 1,
      );
      return turns.flatMap(({ head }) => {
        const row = rows.get(head.id);
        if (row === undefined) return [];
        row.claimMs = clock() + claimMs;
        row.saga = { ...row.saga, version: row.saga.version + 1 };
        return [row.saga];
      });
    });
    if (claimed.length === 0) return;
    const contexts = options.contextsOf(process);
    const answers = await reserve(contexts, claimed);
    const advances = claimed.map((saga, at): Advance => {
      const answer = answers[at];
      if (answer === undefined) return { saga, commands: [] };
      if (!answer.ok)
        return advance(saga, { type: answer.isFinal ? "commandRefused" : "commandFailed", message: answer.message });
      return advance(saga, placementOf(answer.value));
    });
    const saved = await scheduler.io(process, "save placed sagas", () => saveIn(advances.map(({ saga }) => saga)));
    const due = advances
      .filter(({ saga, commands }) => saved.has(saga.id) && commands.length > 0)
      .map(({ saga, commands }) => ({ saga: { ...saga, version: saga.version + 1 }, commands }));
    const settled = await settleCommands(contexts, due);
    const changed = settled.filter(({ saga }, at) => saga !== due[at]?.saga).map(({ saga }) => saga);
    if (changed.length > 0) await scheduler.io(process, "save sagas", () => saveIn(changed));
  }

  async function wakeOnce(process: Process): Promise<void> {
    if (has("nobody is woken")) return;
    const stages: readonly string[] = ["RESERVED", "STARTED", "SETTLING", "COMPENSATING"];
    const overdue = await scheduler.io(process, "claim overdue sagas", () =>
      [...rows.values()].flatMap((row) => {
        if (!stages.includes(row.saga.stage) || row.wakeMs > clock()) return [];
        row.wakeMs = clock() + claimMs;
        row.saga = { ...row.saga, version: row.saga.version + 1 };
        return [row.saga];
      }),
    );
    await drive(
      process,
      overdue.map((saga) => ({ saga, happened: [{ type: "overdue" }] })),
    );
  }

  const seen = new Map<Process, Set<string>>();

  /** What is found twice in a row by the same process is put right. */
  async function reconcileOnce(process: Process): Promise<void> {
    const before = seen.get(process) ?? new Set();
    const isLed = (id: string) => {
      const row = rows.get(id);
      return row !== undefined && !isEnded(row.saga.stage);
    };
    const found = await scheduler.io(process, "compare", () => ({
      unknown: jobs.openAttempts().filter(({ jobId, step, attempt }) => !rows.has(sagaId(jobId, step, attempt))),
      held: providers.live().filter((id) => !isLed(id)),
      running: executions.live().filter(({ executionId }) => !isLed(executionId)),
    }));
    const ids = [
      ...found.unknown.map(({ jobId, step }) => `${jobId}/${step}`),
      ...found.held,
      ...found.running.map(({ executionId }) => `run ${executionId}`),
    ];
    seen.set(process, new Set(ids));
    for (const { jobId, step } of found.unknown) {
      if (!before.has(`${jobId}/${step}`)) continue;
      const facts = jobs.factsOf(jobId).map(
        (fact): ReceivedFact => ({
          ...{
            ...fact,
            context: "job",
            type: "",
            time: new Date(clock()),
            stream: "",
            streamSequence: 0,
            deliveries: 1,
          },
        }),
      );
      await handleJobFacts(process, facts);
    }
    const contexts = options.contextsOf(process);
    const unled = found.held.filter((id) => before.has(id));
    if (unled.length > 0) await contexts.providers.releaseReservations({ reservationIds: unled });
    const stops = found.running
      .filter(({ executionId }) => before.has(`run ${executionId}`))
      .map((each) => ({ ...each, reason: "REASON_OPERATOR" as const, message: "no saga leads it" }));
    if (stops.length > 0) await contexts.executions.stopExecutions({ stops });
  }

  return {
    rows,
    begin(process) {
      seen.delete(process);
      void consume(process, "job");
      void consume(process, "execution");
      void every(process, 200, placeOnce);
      void every(process, 5_000, wakeOnce);
      void every(process, 30_000, reconcileOnce);
    },
  };
}
