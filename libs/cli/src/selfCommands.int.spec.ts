/** `capstan system checkups` and `readiness` against services that the test plays, each at an address of its own. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { serve, unary } from "@capstan/grpc";
import { type Checkup, Violation } from "@capstan/proto/capstan/system/v1/checkup.ts";
import type { Readiness } from "@capstan/proto/capstan/system/v1/readiness.ts";
import { SystemServiceService } from "@capstan/proto/capstan/system/v1/system_service.ts";
import { expect, onTestFinished, test } from "vitest";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { createTestLog } from "../../../test/support/database.ts";

const cli = fileURLToPath(new URL("../bin/capstan.js", import.meta.url));

const nothing: Checkup = { service: "", time: undefined, examined: 0, violations: [], unexamined: [] };

/** Gives back the address of a process that says this of its services. */
async function play(checkups: readonly Partial<Checkup>[], services = checkups.map((each) => ready(each))) {
  const implementation = {
    listCheckups: unary(async () => ({ checkups: checkups.map((each) => ({ ...nothing, ...each })) })),
    listReadiness: unary(async () => ({ services })),
  };
  const registration = { definition: SystemServiceService, implementation };
  const log = createTestLog();
  const address = "127.0.0.1:0";
  const server = await serve({ address, services: [registration], health: () => true, drainMs: 100, log });
  onTestFinished(() => server.stop());
  return `127.0.0.1:${server.port}`;
}

function ready({ service = "" }: { readonly service?: string }): Readiness {
  const lastPassTime = new Date(Date.now() - 65_000);
  return {
    ...{ service, ready: true },
    dependencies: [{ name: "postgres", ok: true, durationMs: 3 }],
    loops: [{ name: "some-loop", ok: true, lastPassTime }],
  };
}

function system(args: readonly string[], env: Readonly<Record<string, string>>) {
  return new Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      [cli, "system", ...args],
      { env: { ...bareEnv, NO_COLOR: "1", ...env } },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
      },
    );
  });
}

const violation = Violation.fromPartial({
  invariant: "sagas-wake-up",
  severity: "SEVERITY_ERROR",
  finding: "a saga should have moved and has not",
  meaning: "its job stands still",
  advice: "see whether the orchestrator runs",
  repair: "wakes it",
  count: 7,
  refs: ["one \u001b[31m", "two"],
});

test("all is well: each service in one line, whether it shares its process or not", async () => {
  const time = new Date(Date.now() - 130_000);
  const both = await play([
    { service: "provider", time, examined: 9 },
    { service: "job", examined: 0 },
  ]);
  const orchestrator = await play([{ service: "orchestrator", time, examined: 12 }]);
  const env = { CAPSTAN_ADDRESS: both, CAPSTAN_ORCHESTRATOR_ADDRESS: orchestrator };
  const { code, stdout, stderr } = await system(["checkups"], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["SERVICE", "LOOKED", "EXAMINED", "NOT EXAMINED", "DO NOT HOLD"],
    ["job", "not yet", "0", "0", "0"],
    ["orchestrator", "2m ago", "12", "0", "0"],
    ["provider", "2m ago", "9", "0", "0"],
    [""],
  ]);
  const readiness = await system(["readiness"], env);
  expect(readiness).toMatchObject({ code: 0, stderr: "" });
  expect(readiness.stdout).toMatch(/^provider +service +provider +ok$/m);
  expect(readiness.stdout).toMatch(/^orchestrator +loop +some-loop +ok +1m ago$/m);
});

test("what does not hold says what it means and what to do, and is exit code 4", async () => {
  const unexamined = [{ invariant: "facts-have-no-gaps", why: "it took too long" }];
  const address = await play([
    { service: "orchestrator", time: new Date(), examined: 3, violations: [violation], unexamined },
  ]);
  const { code, stdout } = await system(["checkups"], { CAPSTAN_ADDRESS: address });
  expect(code).toBe(4);
  expect(stdout.slice(stdout.indexOf("ERROR"))).toBe(
    [
      "ERROR  a saga should have moved and has not  (sagas-wake-up, 7 found)",
      "  its job stands still",
      "    one \\u001b[31m",
      "    two",
      "    … and 5 more; capstan doctor --only sagas-wake-up",
      "  Do: see whether the orchestrator runs",
      "  capstan doctor --only sagas-wake-up --fix wakes it",
      "",
      "orchestrator could not examine facts-have-no-gaps: it took too long",
      "",
    ].join("\n"),
  );
  const json = JSON.parse((await system(["checkups", "-o", "json"], { CAPSTAN_ADDRESS: address })).stdout);
  expect(json).toMatchObject([{ service: "orchestrator", violations: [{ invariant: "sagas-wake-up", count: 7 }] }]);
});

test("a service that is not ready is exit code 1, and one that does not answer 3 beside those that do", async () => {
  const [job] = [ready({ service: "job" })];
  const down = { ...job, ready: false, dependencies: [{ name: "nats", ok: false, durationMs: 2_000 }] };
  const address = await play([], [down]);
  const unready = await system(["readiness"], { CAPSTAN_ADDRESS: address });
  expect(unready.code).toBe(1);
  expect(unready.stdout).toMatch(/^job +dependency +nats +DOWN +2000 ms$/m);

  const other = await play([{ service: "provider", time: new Date() }]);
  const silent = "127.0.0.1:1";
  const partly = await system(["checkups"], { CAPSTAN_ADDRESS: other, CAPSTAN_JOB_ADDRESS: silent });
  expect(partly).toMatchObject({ code: 3, stdout: expect.stringMatching(/^provider/m) });
  expect(partly.stderr).toBe(`capstan: nobody answers at ${silent}\n`);
  const nobody = await system(["readiness"], { CAPSTAN_ADDRESS: silent });
  expect(nobody).toMatchObject({ code: 3, stdout: "", stderr: expect.stringContaining("cannot reach Capstan") });
});

test("where no service examines itself that is said; the help tells the exit codes", async () => {
  const address = await play([]);
  expect(await system(["checkups"], { CAPSTAN_ADDRESS: address })).toMatchObject({
    ...{ code: 0, stdout: "no service examines itself here\n" },
  });
  expect(await system(["readiness"], { CAPSTAN_ADDRESS: address })).toMatchObject({
    ...{ code: 0, stdout: "no service answers here\n" },
  });
  const { stdout } = await system(["checkups", "--help"], {});
  expect(stdout).toContain("4  an invariant does not hold");
});
