/** The clients by which one service calls another: those of users' programs have no failpoints. */
import { DomainError } from "@capstan/errors";
import { type Failpoints, failpoints } from "@capstan/failpoints";
import type { Client } from "@grpc/grpc-js";
import { type ClientClass, connectTo as connectPlainly, defaultDeadlineMs, type PromiseClient } from "./client.ts";

/** See `connectTo` of client.ts. */
export function connectTo<C extends Client>(
  clientClass: ClientClass<C>,
  address: string,
  options: { readonly deadlineMs?: number } = {},
): PromiseClient<C> {
  const client = connectPlainly(clientClass, address, options);
  if (failpoints === null) return client;
  return { ...client, ...failing(failpoints, clientClass, client, options.deadlineMs ?? defaultDeadlineMs) };
}

type Call = (request: unknown, ...rest: unknown[]) => Promise<unknown>;

/** The unary methods, each with a failpoint named as the method is. What it throws is what gRPC would have said. */
function failing<C extends Client>(
  { around }: Failpoints,
  { service }: ClientClass<C>,
  client: PromiseClient<C>,
  deadlineMs: number,
): Partial<PromiseClient<C>> {
  const unary = Object.entries(service).filter(([, method]) => !method.responseStream && !method.requestStream);
  const methods = unary.map(([name, { path }]) => {
    const call = client[name as keyof PromiseClient<C>] as Call;
    const hang = () =>
      new Promise<never>((_, reject) => {
        setTimeout(() => reject(lost("DEADLINE_EXCEEDED")), deadlineMs);
      });
    const failingCall: Call = async (...given) => {
      try {
        return await around("call", path.slice(path.lastIndexOf("/") + 1), () => call(...given), { hang });
      } catch (error) {
        throw error instanceof DomainError ? error : lost("UNAVAILABLE");
      }
    };
    return [name, failingCall] as const;
  });
  return Object.fromEntries(methods) as Partial<PromiseClient<C>>;
}

function lost(code: "UNAVAILABLE" | "DEADLINE_EXCEEDED"): DomainError {
  return new DomainError({ code, reason: code, message: "no answer came" });
}
