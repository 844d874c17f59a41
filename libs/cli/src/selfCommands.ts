/**
 * `capstan system checkups` and `capstan system readiness`: what every service says of itself, asked over gRPC. A service that does not
 * answer keeps nobody from seeing the others.
 */
import type { Capstan } from "@capstan/client";
import { Checkup } from "@capstan/proto/capstan/system/v1/checkup.ts";
import { Readiness } from "@capstan/proto/capstan/system/v1/readiness.ts";
import type { Command } from "commander";
import { formatCheckups } from "./checkupView.ts";
import { ExitError, exitCodes } from "./failure.ts";
import { formatHealth, type ServiceHealth } from "./healthView.ts";
import { type CommonOptions, withCommon } from "./options.ts";
import { note, print } from "./output.ts";
import { isUnavailable, withCapstan } from "./session.ts";

type System = Capstan["systems"] extends ReadonlyMap<string, infer C> ? C : never;

interface Answers<T> {
  readonly items: readonly T[];
  /** Addresses at which nobody answered. */
  readonly silent: readonly string[];
}

/** Asks at every address. Throws when nobody answers at any, or when one refuses. */
async function askAll<T extends { readonly service: string }>(
  { systems }: Capstan,
  ask: (system: System) => Promise<readonly T[]>,
): Promise<Answers<T>> {
  const silent: string[] = [];
  const answers = await Promise.all(
    [...systems].map(([address, system]) =>
      ask(system).catch((error: unknown) => {
        if (!isUnavailable(error) || silent.length + 1 === systems.size) throw error;
        silent.push(address);
        return [];
      }),
    ),
  );
  return { items: answers.flat().sort((a, b) => (a.service < b.service ? -1 : 1)), silent };
}

function endWith(exitCode: number, silent: readonly string[]): void {
  for (const address of silent) note(`nobody answers at ${address}`);
  if (exitCode !== exitCodes.ok) throw new ExitError(exitCode);
  if (silent.length > 0) throw new ExitError(exitCodes.unreachable);
}

async function printCheckups(options: CommonOptions): Promise<void> {
  const { items, silent } = await withCapstan(options, (capstan) =>
    askAll(capstan, async (system) => (await system.listCheckups({})).checkups),
  );
  const json = items.map((checkup) => Checkup.toJSON(checkup));
  await print(options.output, json, () => formatCheckups(items, new Date()));
  const isBroken = items.some(({ violations }) => violations.length > 0);
  endWith(isBroken ? exitCodes.unsuccessful : exitCodes.ok, silent);
}

async function printReadiness(options: CommonOptions): Promise<void> {
  const { items, silent } = await withCapstan(options, (capstan) =>
    askAll(capstan, async (system) => (await system.listReadiness({})).services),
  );
  const json = items.map((readiness) => Readiness.toJSON(readiness));
  await print(options.output, json, () => formatHealth(items.map((each) => healthOf(each, Date.now()))));
  endWith(items.every(({ ready }) => ready) ? exitCodes.ok : exitCodes.refused, silent);
}

function healthOf({ loops, ...readiness }: Readiness, nowMs: number): ServiceHealth {
  const aged = loops.map(({ name, ok, lastPassTime }) => ({ name, ok, lastPassMs: nowMs - +(lastPassTime ?? nowMs) }));
  return { ...readiness, loops: aged };
}

const addressesHelp = `
Services that run alone are each asked at their own address: set CAPSTAN_JOB_ADDRESS, CAPSTAN_PROVIDER_ADDRESS,
CAPSTAN_EXECUTION_ADDRESS and CAPSTAN_ORCHESTRATOR_ADDRESS.
`;

/** Adds both to `capstan system`. */
export function addSelfCommands(system: Command): void {
  withCommon(system.command("checkups"))
    .description("Show what each service found when it last examined its own data, as it does every hour.")
    .addHelpText("after", `${addressesHelp}${exitCodesOf("1  refused", "4  an invariant does not hold")}`)
    .action(printCheckups);
  withCommon(system.command("readiness"))
    .description("Show whether each service can do its work: what it depends on, and its loops.")
    .addHelpText("after", `${addressesHelp}${exitCodesOf("1  a service is not ready, or has refused")}`)
    .action(printReadiness);
}

function exitCodesOf(refused: string, ...more: readonly string[]): string {
  const codes = ["0  all is well", refused, "2  bad usage", "3  not every service answers", ...more];
  return `\nExit codes:\n${codes.map((code) => `  ${code}`).join("\n")}`;
}
