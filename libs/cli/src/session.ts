/** The connection of one command to the platform, and what is said when nobody answers. */
import { hostname, userInfo } from "node:os";
import { type Capstan, connect } from "@capstan/client";
import { DomainError } from "@capstan/errors";
import { UnreachableError, UsageError } from "./failure.ts";
import type { ConnectionOptions } from "./options.ts";

/** True if the platform, or what it stands on, could not be reached or did not answer in time. */
export function isUnavailable(error: unknown): error is DomainError {
  return error instanceof DomainError && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED");
}

/** gRPC itself gives no reason but its code; with another one it was the platform that answered. */
function unreachable(address: string, error: DomainError): UnreachableError {
  const text =
    error.reason === error.code
      ? `cannot reach Capstan at ${address}; start it with npm start, or set CAPSTAN_ADDRESS`
      : `Capstan at ${address} cannot do that at the moment: ${error.reason}: ${error.message}`;
  return new UnreachableError(text, { cause: error });
}

/** Runs one command against the platform, and ends its connection afterwards. Not reaching it is an `UnreachableError`. */
export async function withCapstan<T>(
  { address }: ConnectionOptions,
  work: (capstan: Capstan) => Promise<T>,
): Promise<T> {
  if (!/^[^\s/]+:\d{1,5}$/.test(address)) throw new UsageError(`the address must be host:port, not "${address}"`);
  const capstan = connect({ address, addresses: addressesIn(process.env) });
  try {
    return await work(capstan);
  } catch (error) {
    throw isUnavailable(error) ? unreachable(address, error) : error;
  } finally {
    capstan.close();
  }
}

/** Services that run each at an address of their own; the variables are those by which the services find each other. */
function addressesIn(env: NodeJS.ProcessEnv): Partial<Record<"jobs" | "providers" | "executions" | "sagas", string>> {
  const named = {
    jobs: env["CAPSTAN_JOB_ADDRESS"],
    providers: env["CAPSTAN_PROVIDER_ADDRESS"],
    executions: env["CAPSTAN_EXECUTION_ADDRESS"],
    sagas: env["CAPSTAN_ORCHESTRATOR_ADDRESS"],
  };
  return Object.fromEntries(Object.entries(named).filter(([, address]) => address));
}

/** What every good answer holds, and the contract cannot express: a message that is there. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the platform has answered without what was asked for");
  return value;
}

/** Who runs this command: the facts of what operators do keep it. There are no identities to ask for yet. */
export function whoAmI(): string {
  return `${userInfo().username}@${hostname()}`.slice(0, 128);
}
