/**
 * Calls to a Docker engine. Every call has a deadline and fails in one of two ways: the engine said no
 * ({@link EngineRefused}, with its HTTP status), or it did not answer ({@link BackendUnavailable}).
 */

import Docker from "dockerode";
import { BackendUnavailable } from "./backend.ts";

const CALL_LIMIT_MS = 60_000;

/** The engine answered with an error. The message is the engine's own and may name hosts and paths. */
export class EngineRefused extends Error {
  override readonly name = "EngineRefused";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A client for `unix:///path`, `tcp://host:port`, or "" for the socket at its usual place. */
export function openEngine(address: string): Docker {
  if (address === "") return new Docker({ socketPath: "/var/run/docker.sock" });
  const url = URL.parse(address);
  if (url?.protocol === "unix:") return new Docker({ socketPath: url.pathname });
  // Over a network a connection kept from the last call may be dead and not know it, and each such would cost a call its deadline.
  // That is said here, because an agent of our own would be printed whole by the client's debug line, at every call.
  const headers = { Connection: "close" };
  if (url?.protocol === "tcp:") {
    return new Docker({ host: url.hostname, port: url.port || "2375", protocol: "http", headers });
  }
  throw new TypeError(`the Docker address ${JSON.stringify(address)} is neither unix:///path nor tcp://host:port`);
}

/** Makes one call. The deadline ends with its answer: a stream that was answered may go on for ever. */
export async function callEngine<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
  limitMs: number = CALL_LIMIT_MS,
): Promise<T> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), limitMs);
  const signal = outer === undefined ? deadline.signal : AbortSignal.any([outer, deadline.signal]);
  try {
    return await Promise.race([ask(signal), rejectOnAbort(signal)]);
  } catch (error) {
    throw engineError(error);
  } finally {
    clearTimeout(timer);
  }
}

/** For the calls that the client does not let us abort. */
function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(new DOMException("aborted", "AbortError"));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** Gives null instead of a refusal with one of these statuses. */
export async function callUnless<T>(
  statuses: readonly number[],
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T | null> {
  return callEngine(ask).catch((error: unknown) => {
    if (error instanceof EngineRefused && statuses.includes(error.status)) return null;
    throw error;
  });
}

/** Puts whatever a call failed with into one of the two ways. */
export function engineError(error: unknown): EngineRefused | BackendUnavailable {
  const { statusCode, json, code, name, message } = error as {
    statusCode?: number;
    json?: { message?: string } | null;
    code?: string;
    name?: string;
    message?: string;
  };
  if (statusCode !== undefined) return new EngineRefused(statusCode, json?.message ?? message ?? "");
  const cause = name === "AbortError" ? "no answer in time" : (code ?? "broken connection");
  return new BackendUnavailable(`the Docker engine does not answer (${cause})`);
}
