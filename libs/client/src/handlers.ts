/** What a worker runs, and how the types of a handler reach those who submit to it. */

/** What a handler is told and given beside its input. */
export interface HandlerContext {
  readonly jobId: string;
  readonly step: string;
  /** From 1. */
  readonly attempt: number;
  /** This attempt's own. */
  readonly executionId: string;
  /** `<job id>/<step>`: the same for all attempts, for what they do elsewhere. */
  readonly idempotencyKey: string;
  /** W3C trace context of the job; empty if it has none. */
  readonly traceparent: string;
  /** Aborts when the job is cancelled or out of time, or the worker is cut off or stopped; the reason is a `Stopped`. */
  readonly signal: AbortSignal;
  /** Adds a line to the log of the execution. What is too much to send in time is dropped, and the log says so. */
  log(text: string): void;
  /** How far it is, from 0 to 1 or null, and a word for people. The last of each second is shown. */
  progress(fraction: number | null, message?: string): void;
}

/** Runs one attempt. What it returns is kept as JSON, at most 256 KiB; what it throws fails the attempt. */
export type Handler<Input = unknown, Result = unknown> = (
  input: Input,
  context: HandlerContext,
) => Result | Promise<Result>;

/** Handlers by name. */
// biome-ignore lint/suspicious/noExplicitAny: a handler says what its input is; where it does not, it is JSON nobody has checked
export type Handlers = Readonly<Record<string, Handler<any, unknown>>>;

/** The same handlers; there for their types: `connect<typeof handlers>()` knows what each takes and returns. */
export function defineHandlers<H extends Handlers>(handlers: H): H {
  return handlers;
}

export type HandlerName<H extends Handlers> = keyof H & string;
export type InputOf<H extends Handlers, K extends HandlerName<H>> = Parameters<H[K]>[0];
export type ResultOf<H extends Handlers, K extends HandlerName<H>> = Awaited<ReturnType<H[K]>>;
