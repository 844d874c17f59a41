/** `capstan doctor` on the whole platform: one at work is well, and what is broken is found and mended while the services run. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { seconds, sh, submitBatch } from "../support/jobs.ts";
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
  const env = { ...bareEnv, CAPSTAN_DATABASE_URL: database.adminUrl, CAPSTAN_NATS_URL: nats.url };
  const patience = ["--grace", "5s", "--again-after", "3s"];
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, "doctor", "--json", ...patience, ...args], { env }, (error, stdout, stderr) => {
      const code = typeof error?.code === "number" ? error.code : 0;
      if (stdout === "") throw new Error(stderr);
      resolve({ ...(JSON.parse(stdout) as Report), code });
    });
  });
}

/** Items, a time that is waited for, a step that is tried again, and one that fails and is undone. */
const aWorkflow = SubmitJobRequest.fromPartial({
  spec: {
    name: "workflow",
    steps: [
      { name: "list", ...sh("echo 'CAPSTAN_OUTPUT=[1,2,3,4,5]'"), compensate: "undo" },
      {
        name: "each",
        dependsOn: ["list"],
        forEach: { expression: "steps.list.result", maxParallel: 4 },
        ...sh("true"),
      },
      { name: "pause", dependsOn: ["list"], sleep: { duration: seconds(0.5) } },
      {
        name: "fail",
        dependsOn: ["each", "pause"],
        ...sh("exit 1"),
        retry: { maxAttempts: 2, initialBackoff: seconds(1) },
      },
      { name: "undo", ...sh("true") },
    ],
  },
} as Parameters<typeof SubmitJobRequest.fromPartial>[0]);

async function countLive(): Promise<number> {
  return (await queryOnce(platform().database.adminUrl, "select from job.job where end_time is null")).length;
}

test("a platform under load is well", async () => {
  const { capstan } = platform();
  let isOver = false;
  const load = (async () => {
    for (let batch = 1; !isOver; batch += 1) {
      await submitBatch(capstan, `load-${batch}`, 300);
      const { results } = await capstan.jobs.submitJobs({ requests: Array.from({ length: 10 }, () => aWorkflow) });
      expect(results.map(({ outcome }) => outcome?.$case)).toEqual(results.map(() => "accepted"));
      await eventually(async () => expect(await countLive()).toBeLessThan(200), 30_000);
    }
  })();
  try {
    for (let look = 0; look < 4; look += 1) {
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

test("each service says in its metrics that its own schema is well", async () => {
  for (const { name, healthAddress } of Object.values(platform().services)) {
    const text = await (await fetch(`http://${healthAddress}/metrics`)).text();
    expect(text).toMatch(
      new RegExp(`^capstan_invariant_violations\\{context="${name}",invariant="facts-are-published"\\} 0`, "m"),
    );
  }
});
