/** One connection of a worker: registers, is heard of at every heartbeat, and hands on what the runner says. */
import type { DomainError } from "@capstan/errors";
import type { Duplex, PromiseClient } from "@capstan/grpc/client";
import type {
  ConnectRequest,
  ConnectResponse,
  Register,
  Registered,
  WorkerServiceClient,
} from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { msOf } from "./executions.ts";

/** How long a runner may take to accept a worker. */
const registerMs = 10_000;

interface LinkListener {
  /** The first word; the rest of the message comes as a word too. */
  onRegistered(registered: Registered, message: ConnectResponse): void;
  onWord(message: ConnectResponse): void;
  onRoom(): void;
  /** All that the worker has at this time. */
  holding(): readonly string[];
}

export interface Link {
  send(message: ConnectRequest): boolean;
  /** Says that the worker takes nothing more. */
  drain(): void;
  /** Says goodbye; the runner then ends the call. */
  end(): void;
  /** Ends it at once. */
  cut(): void;
  /** Resolves when it has ended, with why; null if the runner ended it in order. */
  readonly ended: Promise<DomainError | null>;
}

export function openLink(
  client: PromiseClient<WorkerServiceClient>,
  register: Register,
  credit: number,
  listener: LinkListener,
): Link {
  let heartbeat: NodeJS.Timeout | undefined;
  let isRegistered = false;
  let heldSaidMs = performance.now();
  let holdingEveryMs = Number.POSITIVE_INFINITY;
  let duplex: Duplex<ConnectRequest>;
  const registerTimer = setTimeout(() => duplex.cancel(), registerMs);

  function beat(): void {
    duplex.send(empty);
    if (performance.now() - heldSaidMs < holdingEveryMs) return;
    heldSaidMs = performance.now();
    duplex.send({ ...empty, holding: { executionIds: [...listener.holding()] } });
  }

  const ended = new Promise<DomainError | null>((resolve) => {
    duplex = client.connect({
      onAnswer(message) {
        if (!isRegistered && message.registered !== undefined) {
          isRegistered = true;
          clearTimeout(registerTimer);
          // Always sent alone: only an empty message is sure to be answered, and the answer is what the lease is counted from.
          heartbeat = setInterval(beat, Math.max(10, msOf(message.registered.heartbeat)));
          holdingEveryMs = msOf(message.registered.lease);
          listener.onRegistered(message.registered, message);
        }
        listener.onWord(message);
      },
      onRoom: () => listener.onRoom(),
      onEnd(failure) {
        clearTimeout(registerTimer);
        clearInterval(heartbeat);
        resolve(failure);
      },
    });
    duplex.send({ ...empty, register, credit });
  });

  return {
    send: (message) => duplex.send(message),
    drain: () => void duplex.send({ ...empty, isDraining: true }),
    end: () => duplex.end(),
    cut: () => duplex.cancel(),
    ended,
  };
}

const empty: ConnectRequest = {
  register: undefined,
  credit: 0,
  started: [],
  finished: [],
  logs: [],
  progress: [],
  isDraining: false,
  holding: undefined,
};
