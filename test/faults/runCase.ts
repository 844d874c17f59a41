/** One case: a failpoint is armed, jobs of each kind run past it, what died is started again, and in the end nothing is wrong or left. */
import { join } from "node:path";
import { expect } from "vitest";
import { eventually } from "../support/eventually.ts";
import { expectNoViolations } from "../support/invariants.ts";
import { commonKinds, findWrongs, runJobs } from "./faultJobs.ts";
import { type FaultPlatform, untilAllReady } from "./faultPlatform.ts";
import { type Case, nameOf } from "./table.ts";

export interface Recovery {
  /** From the moment it fired until every job had ended as it should and every service was ready. */
  readonly ms: number;
  /** Processes that died of it. */
  readonly deaths: number;
}

const delayMs = 700;
let runs = 0;

/** Fails when it did not fire, when somebody died who should not have, and with all that is wrong after it. */
export async function runCase(faults: FaultPlatform, each: Case): Promise<Recovery> {
  faults.takeDeaths();
  const { by, ...wish } = each;
  const armed = await faults.arm({ ...wish, delayMs: each.mode === "delay" ? delayMs : 0 });
  const kinds = by === undefined ? commonKinds : [by];
  const jobs = await runJobs(faults.platform, join(faults.directory, `ledger.${++runs}`), kinds);
  const firedMs = await eventually(() => armed.firedAt(), 10_000).catch(() => null);
  if (firedMs === null) throw new Error(`${nameOf(each)} did not fire`);
  const deaths: string[] = [];
  const isKill = each.mode === "kill" || each.mode === "doThenKill";
  // It fires before it does what it then dies of.
  await eventually(() => {
    deaths.push(...faults.takeDeaths());
    return deaths.length > 0 || !isKill;
  });
  await untilAllReady(faults);
  const ms = Date.now() - firedMs;
  deaths.push(...faults.takeDeaths());
  expect(await findWrongs(faults.platform, jobs)).toEqual([]);
  await expectNoViolations(faults.platform, { acknowledged: [...jobs.ids.values()], timeoutMs: 20_000 });
  expect(deaths.filter((end) => !end.includes("SIGKILL"))).toEqual([]);
  expect(deaths.length).toBe(isKill ? 1 : 0);
  return { ms: Math.max(0, Math.round(ms)), deaths: deaths.length };
}
