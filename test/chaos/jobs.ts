/** The jobs of the load, by kind: each writes to the ledger what it does, and each must come to an end. */
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { Random } from "../support/random.ts";
import { image } from "./engine.ts";
import { shellLine } from "./ledger.ts";
import { narrow, pool } from "./platform.ts";
import type { Work } from "./workerProgram.ts";

export type Kind =
  | "handler"
  | "narrow"
  | "failing"
  | "process"
  | "workflow"
  | "container"
  | "long"
  | "longContainer"
  | "flood"
  | "forks"
  | "bomb"
  | "canary";

/** A step of which most is left as a user would leave it. */
interface StepPart {
  readonly name?: string;
  readonly command?: string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly image?: string;
  readonly handler?: string;
  readonly input?: Work;
  readonly placement?: { readonly provider: string };
  readonly retry?: Partial<typeof stubborn>;
  readonly runTimeout?: Duration;
  readonly stopGrace?: Duration;
  readonly dependsOn?: string[];
}

interface Duration {
  readonly seconds: number;
  readonly nanos: number;
}

export interface JobsConfig {
  readonly ledgerPath: string;
  readonly random: Random;
}

const duration = (ms: number): Duration => ({ seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 });
/** What is lost with whatever ran it is tried again, as often as a run of many faults may need it. */
const stubborn = { maxAttempts: 50, initialBackoff: duration(100), maxBackoff: duration(1_000), multiplier: 1.5 };

export function createJobs({ ledgerPath, random }: JobsConfig) {
  const handler = (name: string, work: Work, more: StepPart = {}): StepPart => ({
    name,
    handler: "work",
    input: work,
    placement: { provider: pool },
    retry: stubborn,
    runTimeout: duration(20_000),
    ...more,
  });
  const shell = (name: string, line: string, more: StepPart = {}): StepPart => ({
    name,
    command: ["sh", "-c", `${shellLine("begin")}; ${line}; ${shellLine("end")}`],
    env: { LEDGER: ledgerPath },
    placement: { provider: "local" },
    retry: stubborn,
    runTimeout: duration(20_000),
    ...more,
  });
  // A container has no file of ours: what it does is read from the engine's own record.
  const container = (line: string, more: StepPart = {}): StepPart => ({
    name: "main",
    image,
    command: ["sh", "-c", line],
    placement: { provider: "docker" },
    retry: stubborn,
    runTimeout: duration(30_000),
    ...more,
  });
  const ms = () => random.between(0, 30);

  const makers: Record<Kind, (key: string) => { steps: StepPart[]; queue?: string; priority?: number }> = {
    handler: (key) => ({ steps: [handler("main", { key, ms: ms(), failures: random.next() < 0.05 ? 1 : 0 })] }),
    narrow: (key) => ({ queue: narrow.name, steps: [handler("main", { key, ms: ms(), failures: 0 })] }),
    failing: (key) => ({
      steps: [handler("main", { key, ms: ms(), failures: 100 }, { retry: { ...stubborn, maxAttempts: 2 } })],
    }),
    process: () => ({ steps: [shell("main", `sleep 0.0${random.between(1, 9)}`)] }),
    workflow: (key) => ({
      steps: [
        handler("first", { key, ms: ms(), failures: 0 }),
        handler("left", { key, ms: ms(), failures: 0 }, { dependsOn: ["first"] }),
        shell("right", "true", { dependsOn: ["first"] }),
        handler("last", { key, ms: ms(), failures: 0 }, { dependsOn: ["left", "right"] }),
      ],
    }),
    container: () => ({ steps: [container("echo done")] }),
    long: () => ({ priority: 50, steps: [shell("main", "sleep 4")] }),
    longContainer: () => ({ priority: 50, steps: [container("sleep 8")] }),
    // Writes as fast as it may, far past what is stored of it, and is stopped.
    flood: () => ({ steps: [shell("main", "timeout 3 yes 'a flood of output' || true")] }),
    // Two hundred processes that leave their group and their session; the platform ends them with the job.
    forks: () => ({
      steps: [shell("main", "for n in $(seq 200); do setsid sleep 600 </dev/null >/dev/null 2>&1 & done; sleep 0.5")],
    }),
    // Only in a container, whose engine bounds it.
    bomb: () => ({
      steps: [
        container("bomb() { bomb | bomb & }; bomb; sleep 600", {
          runTimeout: duration(4_000),
          stopGrace: duration(500),
          retry: { maxAttempts: 1 },
        }),
      ],
    }),
    canary: (key) => ({ priority: 100, steps: [handler("main", { key, ms: 0, failures: 0 })] }),
  };

  return (kind: Kind, key: string): SubmitJobRequest => {
    const request = { idempotencyKey: key, spec: { name: kind, labels: { kind }, ...makers[kind](key) } };
    return SubmitJobRequest.fromPartial(request as object);
  };
}

export type MakeJob = ReturnType<typeof createJobs>;
