/** Options that many commands share, and the readers of their values. A bad value ends the command with exit code 2. */
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import { durationOfMs, parseDurationMs } from "./durations.ts";
import { type OutputFormat, outputFormats } from "./output.ts";
import { parseCpuMillis, parseMemoryMib } from "./quantities.ts";
import { visibleText } from "./visibleText.ts";

export interface ConnectionOptions {
  readonly address: string;
}

export interface CommonOptions extends ConnectionOptions {
  readonly output: OutputFormat;
}

/** Adds `--output`. */
export function withOutput(command: Command): Command {
  return command.addOption(
    new Option("-o, --output <format>", "how to print").choices(outputFormats).default("table" satisfies OutputFormat),
  );
}

/** Adds `--address`. */
export function withAddress(command: Command): Command {
  return command.addOption(
    new Option("--address <host:port>", "where the platform listens").env("CAPSTAN_ADDRESS").default("127.0.0.1:7100"),
  );
}

/** Adds both, as most commands that ask the platform have them. */
export function withCommon(command: Command): Command {
  return withAddress(withOutput(command));
}

/** `--limit`, 50 unless told. */
export function limitOption(): Option {
  return new Option("--limit <n>", "how many at most").argParser(wholeNumber(1, 100_000)).default(50);
}

/** `--label a=b --label c=d`: collects pairs; the last value of a key stays. */
export function collectPairs(text: string, previous: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must be KEY=VALUE.");
  return addPair(previous, text.slice(0, at), text.slice(at + 1));
}

/** As `collectPairs`; a bare `KEY` takes its value from our own environment. */
export function collectEnv(text: string, previous: Readonly<Record<string, string>> = {}): Record<string, string> {
  if (text.includes("=")) return collectPairs(text, previous);
  const value = process.env[text];
  if (value === undefined) throw new InvalidArgumentError(`${text} is not set here; give it as ${text}=VALUE.`);
  return addPair(previous, text, value);
}

function addPair(pairs: Readonly<Record<string, string>>, key: string, value: string): Record<string, string> {
  // An assignment to this key would vanish without a word.
  if (key === "__proto__") throw new InvalidArgumentError("This cannot be used as a key.");
  return { ...pairs, [key]: value };
}

/** `--state FAILED --state LOST`: collects values in order. */
export function collect(text: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, text];
}

/** A reader of whole numbers between two bounds, both allowed. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

export function durationMs(text: string): number {
  const milliseconds = parseDurationMs(text);
  if (milliseconds === null) throw new InvalidArgumentError('It must be a length of time such as "30s" or "1h30m".');
  return milliseconds;
}

export function duration(text: string): Duration {
  return durationOfMs(durationMs(text));
}

export function cpuMillis(text: string): number {
  const amount = parseCpuMillis(text);
  if (amount === null) throw new InvalidArgumentError('It must be an amount of CPU such as "500m" or "2".');
  return amount;
}

export function memoryMib(text: string): number {
  const amount = parseMemoryMib(text);
  if (amount === null) throw new InvalidArgumentError('It must be an amount of memory such as "128Mi" or "2Gi".');
  return amount;
}

export function json(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => {
      // An assignment to this key would vanish without a word.
      if (key === "__proto__") throw new SyntaxError('"__proto__" cannot be used as a key');
      return value;
    });
  } catch (error) {
    const why = error instanceof Error ? visibleText(error.message) : "it cannot be read";
    throw new InvalidArgumentError(`It must be JSON: ${why}.`);
  }
}
