/** What `capstan run` asks for, as a job spec. Pure. */
import { basename } from "node:path";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { UsageError } from "./failure.ts";
import { visibleText } from "./visibleText.ts";

export interface RunSpecOptions {
  readonly image?: string;
  readonly handler?: string;
  readonly input?: unknown;
  readonly name?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cpu?: number;
  readonly memory?: number;
  readonly provider?: string;
  readonly network?: "none" | "bridge";
  readonly timeout?: Duration;
  readonly runTimeout?: Duration;
  readonly retries?: number;
  readonly label?: Readonly<Record<string, string>>;
  readonly workdir?: string;
}

const networks = { none: "NETWORK_NONE", bridge: "NETWORK_BRIDGE" } as const;

/** The program's or the image's own name, without directory, registry or tag. */
function defaultName(command: readonly string[], image: string | undefined): string {
  const [program] = command;
  const name = basename(program ?? image?.replace(/[@:][^/]*$/, "") ?? "");
  return visibleText(name).slice(0, 128) || "run";
}

/** A job of one step. `retries` is how often a failed attempt is repeated, so one less than the attempts of the contract. */
export function runSpec(command: readonly string[], options: RunSpecOptions, stdin: Buffer): JobSpec {
  const { image, handler, input, cpu = 0, memory = 0, retries = 0 } = options;
  if (command.length === 0 && image === undefined && handler === undefined) {
    throw new UsageError("give a command to run, such as: capstan run -- echo hello");
  }
  if (handler === undefined && input !== undefined)
    throw new UsageError("--input is for a handler; give --handler too");
  return JobSpec.fromPartial({
    name: options.name ?? handler ?? defaultName(command, image),
    labels: { ...options.label },
    source: "capstan run",
    timeout: options.timeout,
    steps: [
      {
        command: [...command],
        image: image ?? "",
        handler: handler ?? "",
        input,
        env: { ...options.env },
        workingDirectory: options.workdir ?? "",
        stdin,
        resources: cpu > 0 || memory > 0 ? { cpuMillis: cpu, memoryMib: memory } : undefined,
        placement: options.provider === undefined ? undefined : { provider: options.provider },
        retry: retries > 0 ? { maxAttempts: retries + 1 } : undefined,
        runTimeout: options.runTimeout,
        network: options.network === undefined ? "NETWORK_UNSPECIFIED" : networks[options.network],
      },
    ],
  });
}
