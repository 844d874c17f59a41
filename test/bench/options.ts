/** What the bench is asked to do. */
import { parseArgs } from "node:util";

const parts = [
  "workers",
  "backlog",
  "workflows",
  "passes",
  "processes",
  "containers",
  "submit",
  "idle",
  "schedules",
  "gateway",
  "live",
  "peers",
] as const;
export type Part = (typeof parts)[number];

export interface Options {
  readonly runs: number;
  /** Jobs of each figure of handlers. */
  readonly jobs: number;
  readonly backlog: number;
  /** Attempts that wait while a scheduling pass is timed. */
  readonly waiting: number;
  readonly slots: number;
  readonly processJobs: number;
  readonly containers: number;
  readonly latencySeconds: number;
  readonly idleSeconds: number;
  /** How long REST is read from. */
  readonly httpSeconds: number;
  readonly parts: ReadonlySet<Part>;
  /** File for the figures of every run; empty for none. */
  readonly json: string;
}

const help = `npm run bench -- [options]

Measures the platform on an embedded Postgres and NATS; prints medians and ranges. Never passes or fails on a figure.

  --runs N             how often each figure is measured (3)
  --jobs N             jobs of each figure of handlers (20000)
  --backlog N          jobs that wait before one worker drains them (200000)
  --waiting N          attempts that wait while a scheduling pass is timed, beside 1000 (1000000)
  --slots N            handlers that the worker runs at once (1000)
  --process-jobs N     jobs that are processes (3000)
  --containers N       jobs that are containers; left out where no Docker engine with busybox answers (40)
  --latency-seconds N  how long jobs come at 50 a second (20)
  --idle-seconds N     how long nothing is done (15)
  --http-seconds N     how long REST is read from (20)
  --peers              graphile-worker and pg-boss too, on the same Postgres
  --only PART          only this; may be repeated: ${parts.join(", ")}
  --json FILE          writes the figures of every run there too
  --help               this`;

const number = (fallback: number) => ({ type: "string", default: String(fallback) }) as const;

/** Prints and ends the process for --help, and for what cannot be understood. */
export function readOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        runs: number(3),
        jobs: number(20_000),
        backlog: number(200_000),
        waiting: number(1_000_000),
        slots: number(1_000),
        "process-jobs": number(3_000),
        containers: number(40),
        "latency-seconds": number(20),
        "idle-seconds": number(15),
        "http-seconds": number(20),
        peers: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        json: { type: "string", default: "" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(help);
      process.exit(0);
    }
    return {
      runs: positive("runs", values.runs),
      jobs: positive("jobs", values.jobs),
      backlog: positive("backlog", values.backlog),
      waiting: positive("waiting", values.waiting),
      slots: positive("slots", values.slots),
      processJobs: positive("process-jobs", values["process-jobs"]),
      containers: positive("containers", values.containers),
      latencySeconds: positive("latency-seconds", values["latency-seconds"]),
      idleSeconds: positive("idle-seconds", values["idle-seconds"]),
      httpSeconds: positive("http-seconds", values["http-seconds"]),
      parts: partsOf(values.only, values.peers),
      json: values.json,
    };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${help}`);
    process.exit(2);
  }
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1, not "${text}"`);
  return value;
}

function partsOf(only: readonly string[], withPeers: boolean): ReadonlySet<Part> {
  const isPart = (word: string): word is Part => parts.some((part) => part === word);
  const asked = only
    .flatMap((word) => word.split(","))
    .map((word) => {
      if (!isPart(word)) throw new Error(`--only knows ${parts.join(", ")}, not "${word}"`);
      return word;
    });
  const chosen = asked.length > 0 ? asked : parts.filter((part) => part !== "peers");
  return new Set(withPeers ? [...chosen, "peers"] : chosen);
}
