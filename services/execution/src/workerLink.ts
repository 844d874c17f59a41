/**
 * What a runner has to say to one worker: gathered during a turn of the event loop and sent as few messages as fit. While the
 * connection is slower than what there is to say, it waits here.
 */
import type { BidiStream } from "@capstan/grpc";
import type {
  ConnectRequest,
  ConnectResponse,
  ExecutionAssigned,
  ExecutionCancelled,
  HeldByWorker,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { maxItems } from "./worker.ts";

type WorkerStream = Pick<BidiStream<ConnectRequest, ConnectResponse>, "send" | "hasRoom">;

export interface WorkerLink {
  assign(assigned: ExecutionAssigned): void;
  cancel(cancelled: ExecutionCancelled): void;
  acknowledge(executionId: string): void;
  /** Answers a heartbeat; not while the connection cannot keep up: what is on its way says the same. */
  answer(): void;
  /** Says at once, before anything else that is waiting. */
  say(message: Partial<ConnectResponse>): void;
}

/** Bytes of one message, roughly, at most: what a worker receives by default is several times that. */
const maxBytes = 1024 * 1024;

/** `onRoom` is called with false when the connection cannot keep up, and with true when it has caught up. */
export function openLink(stream: WorkerStream, onRoom: (hasRoom: boolean) => void): WorkerLink {
  let assigned: ExecutionAssigned[] = [];
  let cancelled: ExecutionCancelled[] = [];
  let acknowledged: string[] = [];
  let isScheduled = false;
  let isFull = false;

  function schedule(): void {
    if (isScheduled || isFull) return;
    isScheduled = true;
    setImmediate(flush);
  }

  function flush(): void {
    isScheduled = false;
    while (!isFull && assigned.length + cancelled.length + acknowledged.length > 0) {
      const count = fitting(assigned);
      send({
        assigned: assigned.slice(0, count),
        cancelled: cancelled.slice(0, maxItems),
        acknowledged: acknowledged.slice(0, maxItems),
      });
      assigned = assigned.slice(count);
      cancelled = cancelled.slice(maxItems);
      acknowledged = acknowledged.slice(maxItems);
    }
  }

  function send(part: Partial<ConnectResponse>): void {
    if (stream.send({ ...nothing, ...part }) || isFull) return;
    isFull = true;
    onRoom(false);
    stream.hasRoom().then(
      () => {
        isFull = false;
        onRoom(true);
        schedule();
      },
      () => {}, // the connection is gone, and this with it
    );
  }

  return {
    assign(each) {
      assigned.push(each);
      schedule();
    },
    cancel(each) {
      cancelled.push(each);
      schedule();
    },
    acknowledge(executionId) {
      acknowledged.push(executionId);
      schedule();
    },
    answer() {
      if (!isFull) send({});
    },
    say: send,
  };
}

const nothing: ConnectResponse = {
  registered: undefined,
  assigned: [],
  cancelled: [],
  acknowledged: [],
  isDraining: false,
  held: [] as HeldByWorker[],
};

/** How many of the first fit one message; at least one. */
function fitting(assigned: readonly ExecutionAssigned[]): number {
  let bytes = 0;
  const end = Math.min(assigned.length, maxItems);
  for (let count = 0; count < end; count += 1) {
    bytes += 200 + roughBytes(assigned[count]?.input);
    if (bytes > maxBytes) return Math.max(1, count);
  }
  return end;
}

/** About the bytes of a JSON value in protobuf, without writing it. */
function roughBytes(value: unknown): number {
  if (typeof value === "string") return 3 * value.length;
  if (typeof value !== "object" || value === null) return 11;
  let bytes = 4;
  for (const [key, each] of Object.entries(value)) bytes += 8 + key.length + roughBytes(each);
  return bytes;
}
