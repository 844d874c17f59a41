/** A part of the product of failpoints, each of them once; `npm run test:faults` runs all of it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultPlatform, startFaultPlatform } from "../faults/faultPlatform.ts";
import { runCase } from "../faults/runCase.ts";
import { cases, nameOf, passedBy, places } from "../faults/table.ts";

let faults: FaultPlatform;

beforeAll(async () => {
  faults = await startFaultPlatform({ isTraced: true });
});

afterAll(() => faults.stop());

const chosen = [
  "commit job.insert_jobs job.submitted: doThenThrow",
  "commit provider.end_reservations: hang",
  "commit execution.relay_remove: kill",
  "write orchestrator.insert_sagas: throw",
  "write orchestrator.save_sagas RESERVED: doThenKill",
  "publish execution: doThenThrow",
  "handle orchestrator-execution: doThenKill",
  "ack orchestrator-job: hang",
  "call StartExecutions: doThenThrow",
  "answer ReportExecutions: doThenKill",
  "backend PROCESS.start: kill",
  "backend PROCESS.start: delay",
];

test.each(chosen)("all ends as it should after %s", async (name) => {
  const each = cases.find((one) => nameOf(one) === name);
  if (each === undefined) throw new Error(`there is no case ${name}`);
  await runCase(faults, each);
});

test("whatever passed a failpoint is in the table, so that nothing that is new goes without", async () => {
  const known = new Set([...places.map(({ point, stage }) => `${point} ${stage}`), ...Object.keys(passedBy)]);
  const passed = new Set((await faults.readPassed()).map(({ point, stage }) => `${point} ${stage}`));
  expect([...passed].filter((each) => !known.has(each))).toEqual([]);
});
