/**
 * What a worker has to say: gathered during a turn of the event loop and sent as few messages as fit. What has ended is kept until
 * the runner has acknowledged it, and is said again on a new connection; all else is said once.
 */
import type {
  ConnectRequest,
  ExecutionFinished,
  ExecutionStarted,
  HeldByWorker,
  WorkerProgress,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { createLogBuffer } from "./workerLogs.ts";

/** As far as one message goes: items of a kind, and bytes with much room to spare below the 4 MiB of a message. */
const maxItems = 1_000;
const maxWeight = 1024 * 1024;
const logDelayMs = 100;
const progressDelayMs = 1_000;

export interface Outbox {
  started(executionId: string, time: Date): void;
  /** `weight` is about the bytes of its result. */
  finished(end: ExecutionFinished, weight: number): void;
  log(executionId: string, text: string): void;
  progress(progress: WorkerProgress): void;
  /** Looks again at how much credit is to be given. */
  wake(): void;
  /** The runner has it, or does not want it: it need not be said again. */
  forget(executionId: string): void;
  /** A new fence of something that has ended. */
  refence(held: HeldByWorker): void;
  /** What has ended and was not acknowledged. */
  readonly unacknowledged: ReadonlyMap<string, ExecutionFinished>;
  /** From now on says it here; first what was not acknowledged, and again what has begun. */
  attach(send: (message: ConnectRequest) => boolean, running: Iterable<ExecutionStarted>): void;
  detach(): void;
  /** There is room again after `send` has answered false. */
  onRoom(): void;
}

/** `takeCredit` is asked for the credit of each message. */
export function openOutbox(takeCredit: () => number): Outbox {
  const unacknowledged = new Map<string, ExecutionFinished>();
  const weights = new Map<string, number>();
  const started = new Map<string, Date>();
  const progress = new Map<string, WorkerProgress>();
  const logs = createLogBuffer();
  let queue: ExecutionFinished[] = [];
  let send: ((message: ConnectRequest) => boolean) | null = null;
  let hasRoom = true;
  let isScheduled = false;
  let logTimer: NodeJS.Timeout | null = null;
  let progressDueMs = 0;

  function schedule(): void {
    if (isScheduled || send === null || !hasRoom) return;
    isScheduled = true;
    setImmediate(flush);
  }

  function scheduleLater(): void {
    if (logTimer !== null || send === null) return;
    logTimer = setTimeout(() => {
      logTimer = null;
      schedule();
    }, logDelayMs);
  }

  function flush(): void {
    isScheduled = false;
    while (send !== null && hasRoom) {
      const message = nextMessage();
      if (message === null) break;
      hasRoom = send(message);
    }
    if (progress.size > 0 || logs.isWaiting) scheduleLater();
  }

  function nextMessage(): ConnectRequest | null {
    const message: ConnectRequest = {
      register: undefined,
      credit: 0,
      started: takeStarted(),
      logs: logs.take(),
      progress: takeProgress(),
      finished: takeFinished(),
      isDraining: false,
      holding: undefined,
    };
    message.credit = takeCredit();
    const { credit } = message;
    const items = message.started.length + message.logs.length + message.progress.length + message.finished.length;
    return credit + items === 0 ? null : message;
  }

  function takeStarted(): ExecutionStarted[] {
    const taken: ExecutionStarted[] = [];
    for (const [executionId, time] of started) {
      if (taken.length === maxItems) break;
      started.delete(executionId);
      taken.push({ executionId, time });
    }
    return taken;
  }

  function takeProgress(): WorkerProgress[] {
    if (progress.size === 0 || performance.now() < progressDueMs) return [];
    const taken = [...progress.values()].slice(0, maxItems);
    for (const { executionId } of taken) progress.delete(executionId);
    if (progress.size === 0) progressDueMs = performance.now() + progressDelayMs;
    return taken;
  }

  /** A log that still waits goes before the end of its execution, after which the runner takes none. */
  function takeFinished(): ExecutionFinished[] {
    if (queue.length === 0) return [];
    let weight = 0;
    let count = 0;
    while (count < queue.length && count < maxItems) {
      const { executionId } = queue[count] as ExecutionFinished;
      weight += weights.get(executionId) ?? 0;
      if ((weight > maxWeight && count > 0) || logs.has(executionId)) break;
      count += 1;
    }
    const taken = queue.slice(0, count);
    queue = queue.slice(count);
    return taken.filter(({ executionId }) => unacknowledged.has(executionId));
  }

  return {
    unacknowledged,
    started(executionId, time) {
      started.set(executionId, time);
      schedule();
    },
    finished(end, weight) {
      const { executionId } = end;
      started.delete(executionId);
      progress.delete(executionId);
      unacknowledged.set(executionId, end);
      weights.set(executionId, weight);
      if (send === null) return;
      queue.push(end);
      schedule();
    },
    log(executionId, text) {
      logs.add(executionId, text);
      scheduleLater();
    },
    progress(each) {
      progress.set(each.executionId, each);
      scheduleLater();
    },
    wake: schedule,
    forget(executionId) {
      unacknowledged.delete(executionId);
      started.delete(executionId);
      progress.delete(executionId);
      weights.delete(executionId);
      logs.drop(executionId);
    },
    refence({ executionId, fence }) {
      const end = unacknowledged.get(executionId);
      if (end !== undefined) end.fence = fence;
    },
    attach(to, running) {
      send = to;
      hasRoom = true;
      for (const { executionId, time } of running) started.set(executionId, time ?? new Date());
      queue = [...unacknowledged.values()];
      schedule();
    },
    detach() {
      send = null;
      queue = [];
      started.clear();
      if (logTimer !== null) clearTimeout(logTimer);
      logTimer = null;
    },
    onRoom() {
      hasRoom = true;
      schedule();
    },
  };
}
