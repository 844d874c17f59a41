/** `capstan doctor` on the whole platform: one at work is well, and what is broken is found and mended while the services run. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { submitBatch } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const cli = fileURLToPath(new URL("../../libs/cli/bin/capstan.js", import.meta.url));

interface Report {
  readonly found: readonly { readonly invariant: string; readonly refs: readonly string[] }[];
  readonly unexamined: readonly unknown[];
}

/** Looks with little patience, so that much of what is under way is old enough to count. */
function doctor(...args: readonly string[]): Promise<Report & { readonly code: number }> {
  const { database, nats } = platform();
  const env = { PATH: process.env["PATH"], CAPSTAN_DATABASE_URL: database.adminUrl, CAPSTAN_NATS_URL: nats.url };
  const patience = ["--grace", "5s", "--again-after", "3s"];
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, "doctor", "--json", ...patience, ...args], { env }, (error, stdout, stderr) => {
      const code = typeof error?.code === "number" ? error.code : 0;
      if (stdout === "") throw new Error(stderr);
      resolve({ ...(JSON.parse(stdout) as Report), code });
    });
  });
}

async function countLive(): Promise<number> {
  return (await queryOnce(platform().database.adminUrl, "select from job.job where end_time is null")).length;
}

test("a platform under load is well", async () => {
  const { capstan } = platform();
  let isOver = false;
  const load = (async () => {
    for (let batch = 1; !isOver; batch += 1) {
      await submitBatch(capstan, `load-${batch}`, 300);
      await eventually(async () => expect(await countLive()).toBeLessThan(200), 30_000);
    }
  })();
  try {
    for (let look = 0; look < 3; look += 1) {
      expect(await doctor()).toMatchObject({ code: 0, found: [], unexamined: [] });
    }
  } finally {
    isOver = true;
    await load;
  }
}, 120_000);

test("a fact that is on no stream is found, listed again with --fix, and published by the service that runs", async () => {
  const insert = `
    insert into provider.event (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, data, time)
    values (gen_random_uuid(), 1, gen_random_uuid(), 'default', 'provider', 'updated', '', '', '{}',
            clock_timestamp() - interval '1 minute')`;
  await queryOnce(platform().database.adminUrl, insert);
  expect((await doctor("--fix", "--dry-run")).found).toMatchObject([
    { invariant: "streams-hold-the-log", refs: [expect.stringContaining("provider.updated")] },
  ]);
  expect(await doctor("--fix")).toMatchObject({ code: 4, found: [{ repairState: { state: "done" } }] });
  await eventually(async () => expect((await doctor()).code).toBe(0), 30_000);
}, 90_000);
