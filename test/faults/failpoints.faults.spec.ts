/** Each failpoint at each stage in each mode: the whole product. */
import { afterAll, beforeAll, test } from "vitest";
import { whyNoContainers } from "../support/workloads.ts";
import { type FaultPlatform, startFaultPlatform, untilAllReady } from "./faultPlatform.ts";
import { runCase } from "./runCase.ts";
import { cases, nameOf } from "./table.ts";

let faults: FaultPlatform | null = null;
const results: { readonly name: string; readonly ms: number | null }[] = [];

/** After a case that failed everything is made anew, so that it spoils no other. */
async function fresh(): Promise<FaultPlatform> {
  faults ??= await startFaultPlatform({ hasWorker: true });
  await untilAllReady(faults);
  return faults;
}

beforeAll(fresh);

afterAll(async () => {
  await faults?.stop();
  const width = Math.max(...results.map(({ name }) => name.length));
  const lines = results.map(({ name, ms }) => `${name.padEnd(width)}  ${ms === null ? "FAILED" : `${ms} ms`}`);
  const times = results.flatMap(({ ms }) => ms ?? []).sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  console.log(
    `${lines.join("\n")}\n${times.length} of ${results.length} recovered: p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)} ms`,
  );
});

const chosen = process.env["FAULTS"] ?? "";
const whyNot = await whyNoContainers();
if (whyNot !== null) console.log(`containers are not tried: ${whyNot}`);
const possible = cases.filter(({ by }) => by !== "contained" || whyNot === null);

test.each(
  possible.filter((each) => new RegExp(chosen).test(nameOf(each))).map((each) => [nameOf(each), each] as const),
)("%s", async (name, each) => {
  const platform = await fresh();
  try {
    results.push({ name, ms: (await runCase(platform, each)).ms });
  } catch (error) {
    results.push({ name, ms: null });
    console.error(`${name}: ${error instanceof Error ? error.message : error}`);
    faults = null;
    await platform.stop().catch(() => {});
    throw error;
  }
});
