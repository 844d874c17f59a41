/** Workers and handlers for the specs beside this file. */
import { onTestFinished } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { connect } from "./connect.ts";
import type { FakeRunner } from "./fakeRunner.ts";
import type { HandlerContext, Handlers } from "./handlers.ts";
import type { WorkerOptions } from "./worker.ts";

interface Work extends Partial<WorkerOptions> {
  readonly handlers: Handlers;
}

export function connectedTo(...runners: readonly string[]) {
  const capstan = connect({ address: "127.0.0.1:1", addresses: { executions: runners } });
  onTestFinished(() => capstan.close());
  return capstan;
}

export async function work({ address }: FakeRunner, options: Work) {
  const worker = await connectedTo(address).worker({ pool: "media", slots: 10, ...options });
  return { worker };
}

/** A handler that runs until the test ends it; its calls are there to be looked at. */
export function heldHandler() {
  const calls: { readonly context: HandlerContext; end(result?: unknown): void; fail(error: unknown): void }[] = [];
  const handler = (_input: unknown, context: HandlerContext) =>
    new Promise<unknown>((resolve, reject) => calls.push({ context, end: resolve, fail: reject }));
  const call = (index: number) =>
    eventually(() => {
      const [found] = calls.slice(index);
      if (found === undefined) throw new Error(`there is no call ${index}`);
      return found;
    });
  return { handler, calls, call };
}

export const untilAborted = (_input: unknown, { signal }: HandlerContext) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
