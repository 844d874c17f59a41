/**
 * How commands fail: what is printed on stderr, and the exit code. Programs decide by the code, people read the text; both
 * are made here and nowhere else.
 */
import { DomainError } from "@capstan/errors";
import { CommanderError } from "commander";
import { visibleText } from "./visibleText.ts";

/** The exit codes of every command but `run`, whose own are the workload's. */
export const exitCodes = {
  ok: 0,
  /** The platform has refused, or something unforeseen has happened. */
  refused: 1,
  /** Bad options, a bad file. Nothing was asked of the platform. */
  usage: 2,
  unreachable: 3,
  /** What was waited for has ended without success, or not in time. */
  unsuccessful: 4,
} as const;

export const exitCodesHelp = `
Exit codes:
  0  done
  1  refused by the platform; the reason is printed
  2  bad usage or a bad file; nothing was asked of the platform
  3  the platform cannot be reached
  4  the job that was waited for has not succeeded`;

/** The person at the keyboard asked for something that makes no sense; the platform was not asked. */
export class UsageError extends Error {
  readonly details: readonly string[];

  constructor(message: string, details: readonly string[] = []) {
    super(message);
    this.name = "UsageError";
    this.details = details;
  }
}

/** Nobody answers at an address. The message says how to change that. */
export class UnreachableError extends Error {}

/** Ends a command with a code of its own; the lines, if any, are printed as they are and must be safe to print. */
export class ExitError extends Error {
  readonly exitCode: number;
  readonly lines: readonly string[];

  constructor(exitCode: number, lines: readonly string[] = []) {
    super(`exit code ${exitCode}`);
    this.name = "ExitError";
    this.exitCode = exitCode;
    this.lines = lines;
  }
}

export interface Failure {
  readonly exitCode: number;
  /** Lines for stderr, safe to print. */
  readonly lines: readonly string[];
}

function explainRefusal(error: DomainError): readonly string[] {
  const fields = error.fields.map(({ field, description }) => `  ${field}: ${description}`);
  const head = `refused: ${error.reason}`;
  // A refusal of fields often repeats all of them in its message; once is enough.
  const isRepeated = fields.length > 0 && error.fields.every(({ description }) => error.message.includes(description));
  return [isRepeated ? head : `${head}: ${error.message}`, ...fields];
}

function hasCode(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

/** True if whoever reads our output has stopped reading. */
export function isBrokenPipe(error: unknown): boolean {
  return hasCode(error) && error.code === "EPIPE";
}

function linesOf(error: unknown): readonly string[] {
  if (error instanceof DomainError) return explainRefusal(error);
  if (error instanceof UsageError) return [error.message, ...error.details.map((detail) => `  ${detail}`)];
  // Errors of the system and of servers carry a code and a message for people; anything else is a defect of ours.
  if (error instanceof UnreachableError || hasCode(error)) return [error.message];
  return error instanceof Error ? ["unexpected error", ...(error.stack ?? error.message).split("\n")] : [String(error)];
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCodes.usage;
  if (error instanceof UnreachableError) return exitCodes.unreachable;
  return exitCodes.refused;
}

/** What to print and which code to end with. */
export function explainFailure(error: unknown): Failure {
  // Commander has printed its own errors, and help, by the time they are thrown.
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage, lines: [] };
  }
  if (error instanceof ExitError) return { exitCode: error.exitCode, lines: error.lines };
  // A reader that is gone, as in `capstan job list | head -1`, has seen what it wanted.
  if (isBrokenPipe(error)) return { exitCode: exitCodes.ok, lines: [] };
  const [first, ...rest] = linesOf(error).map(visibleText);
  return { exitCode: exitCodeOf(error), lines: first === undefined ? [] : [`capstan: ${first}`, ...rest] };
}
