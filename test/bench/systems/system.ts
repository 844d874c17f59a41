/**
 * What is measured with handlers: Capstan and its peers, each behind the same few calls, so that all are given the same work by the
 * same code, with settings that favour throughput.
 */

export type SystemName = "capstan" | "graphileWorker" | "pgBoss" | "pgBossPolling";

export interface System {
  /** Answers when all are durable; a thousand at most. */
  submitBatch(inputs: readonly Input[]): Promise<void>;
  /** As a user would submit one; answers when it is durable. */
  submit(input: Input): Promise<void>;
  /** One raw call to the server for each job; null where `submit` is just that. */
  readonly submitUnary: ((input: Input) => Promise<void>) | null;
  /** Runs what waits and what comes, until `stop`, which waits for what runs. */
  work(slots: number, handle: (input: Input) => void): Promise<{ stop(): Promise<void> }>;
  close(): Promise<void>;
}

/** 200 bytes as JSON. */
export interface Input {
  /** When it was submitted, by the clock of the process that submits and runs. */
  readonly submitMs: number;
  readonly padding: string;
}

const inputBytes = 200;

export function anInput(): Input {
  const submitMs = Math.round(performance.now() * 1_000) / 1_000;
  const bare = JSON.stringify({ submitMs, padding: "" }).length;
  return { submitMs, padding: "x".repeat(inputBytes - bare) };
}
