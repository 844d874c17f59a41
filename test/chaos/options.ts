/** What the chaos test is asked to do. */
import { parseArgs } from "node:util";

export interface Options {
  /** How long there is load and faults; start, healing and checking come on top. */
  readonly minutes: number;
  readonly seed: number;
  /** Jobs a second, as long as the platform keeps up. */
  readonly rate: number;
  /** Kinds of faults; empty for all. */
  readonly only: readonly string[];
  /** Where evidence goes; empty for a directory of its own below the system's temporary one. */
  readonly evidence: string;
  /** File to which the figures of a good run are appended as JSON; empty for none. */
  readonly json: string;
}

const help = `npm run test:chaos -- [options]

Loads a platform of separate processes, breaks it in every way it knows, heals it, and checks from outside that no promise was
broken. Exits 1 when one was, or when a fault could not be done; the evidence is in the directory that it names.

  --minutes N     how long load and faults go on (3); all kinds of faults happen once before any happens again
  --seed S        of the schedule of faults; a random one unless given, and printed
  --rate N        jobs a second, as long as the platform keeps up (60)
  --only KINDS    only these kinds of faults, separated by commas
  --evidence DIR  where evidence of violations goes
  --json FILE     appends the figures there too
  --help          this`;

/** Prints and ends the process for --help, and for what cannot be understood. */
export function readOptions(args: readonly string[], kinds: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        minutes: { type: "string", default: "3" },
        seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
        rate: { type: "string", default: "60" },
        only: { type: "string", multiple: true, default: [] },
        evidence: { type: "string", default: "" },
        json: { type: "string", default: "" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(`${help}\n\nKinds of faults: ${kinds.join(", ")}`);
      process.exit(0);
    }
    const only = values.only.flatMap((word) => word.split(","));
    const unknown = only.filter((word) => !kinds.includes(word));
    if (unknown.length > 0) throw new Error(`--only knows ${kinds.join(", ")}, not "${unknown.join(", ")}"`);
    return {
      minutes: numberOf("minutes", values.minutes, 0.1, 24 * 60),
      seed: numberOf("seed", values.seed, 0, 2 ** 32 - 1),
      rate: numberOf("rate", values.rate, 1, 10_000),
      only,
      evidence: values.evidence,
      json: values.json,
    };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${help}`);
    process.exit(2);
  }
}

function numberOf(name: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= low && value <= high))
    throw new Error(`--${name} must be a number from ${low} to ${high}, not "${text}"`);
  return value;
}
