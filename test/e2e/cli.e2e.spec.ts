/** The command as a user runs it: a process of its own, against a platform in one process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimPort } from "../../services/standalone/src/loopbackPort.ts";
import { bareEnv } from "../support/bareEnv.ts";
import { eventually } from "../support/eventually.ts";
import { spawnTied } from "../support/spawnTied.ts";

const cli = fileURLToPath(new URL("../../libs/cli/bin/capstan.js", import.meta.url));
const standalone = fileURLToPath(new URL("../../services/standalone/src/main.ts", import.meta.url));
const examples = fileURLToPath(new URL("../../examples/", import.meta.url));

let directory: string;
let platform: ChildProcess;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "capstan-cli-"));
  // All at once, because a port that was given back may be given again.
  const [grpc, health, nats, postgres] = await Promise.all(Array.from({ length: 4 }, () => claimPort(0, "a test")));
  platform = spawnTied([process.execPath, standalone], {
    env: {
      ...bareEnv,
      CAPSTAN_DATA_DIR: directory,
      CAPSTAN_GRPC_ADDRESS: `127.0.0.1:${grpc}`,
      CAPSTAN_HEALTH_ADDRESS: `127.0.0.1:${health}`,
      CAPSTAN_HTTP_ADDRESS: "127.0.0.1:0",
      CAPSTAN_NATS_PORT: String(nats),
      CAPSTAN_POSTGRES_PORT: String(postgres),
    },
    stdout: "ignore",
    stderr: "inherit",
  });
  env = {
    ...bareEnv,
    CAPSTAN_ADDRESS: `127.0.0.1:${grpc}`,
    CAPSTAN_HEALTH_URL: `http://127.0.0.1:${health}`,
    CAPSTAN_NATS_URL: `nats://127.0.0.1:${nats}`,
  };
  await eventually(async () => expect((await capstan(["system", "health"])).exitCode).toBe(0), 60_000);
  await eventually(
    async () => expect((await capstan(["provider", "get", "local"])).stdout).toContain("HEALTHY"),
    30_000,
  );
});

afterAll(async () => {
  platform.kill("SIGTERM");
  if (platform.exitCode === null && platform.signalCode === null) await once(platform, "exit");
  await rm(directory, { recursive: true, force: true });
});

function startCapstan(args: readonly string[]) {
  return spawn(process.execPath, [cli, ...args], { env, stdio: ["pipe", "pipe", "pipe"] });
}

interface Ended {
  readonly exitCode: number | null;
  readonly bytes: Buffer;
  readonly stdout: string;
  readonly stderr: string;
}

async function endOf(child: ReturnType<typeof startCapstan>): Promise<Ended> {
  const [bytes, stderr] = await Promise.all([buffer(child.stdout), text(child.stderr), once(child, "exit")]);
  return { exitCode: child.exitCode, bytes, stdout: bytes.toString(), stderr };
}

function capstan(args: readonly string[], input = ""): Promise<Ended> {
  const child = startCapstan(args);
  child.stdin.end(input);
  return endOf(child);
}

/** The only job of this name, in the JSON of the contract. */
async function jobNamed(name: string): Promise<Record<string, unknown>> {
  const { stdout } = await capstan(["job", "list", "--filter", `name = "${name}"`, "-o", "json"]);
  const [job, ...others] = JSON.parse(stdout);
  expect(others).toEqual([]);
  return job;
}

test.each([
  ["its own", ["sh", "-c", "exit 42"], [], 42],
  ["128 + n after signal n", ["sh", "-c", "kill -SEGV $$"], [], 139],
  ["124 after a timeout", ["sleep", "60"], ["--run-timeout", "200ms"], 124],
  ["127 without such a program", ["no-such-program"], [], 127],
  ["126 for a program that may not be run", ["/etc/passwd"], [], 126],
])("run ends with the workload's exit code: %s", async (_, command, options, expected) => {
  expect((await capstan(["run", ...options, "--", ...command])).exitCode).toBe(expected);
});

test("run passes on both outputs, byte for byte and apart", async () => {
  const { bytes, stderr, exitCode } = await capstan([
    "run",
    "--",
    "sh",
    "-c",
    "printf '\\0\\377\\033[31m'; printf err >&2",
  ]);
  expect({ bytes: [...bytes], stderr, exitCode }).toEqual({
    bytes: [0, 255, 27, ...Buffer.from("[31m")],
    stderr: "err",
    exitCode: 0,
  });
});

test("run gives standard input to the workload", async () => {
  expect((await capstan(["run", "-i", "--", "wc", "-c"], "12345")).stdout.trim()).toBe("5");
});

test("run shows every attempt and says why it repeats", async () => {
  const script = 'echo "attempt $CAPSTAN_ATTEMPT"; test "$CAPSTAN_ATTEMPT" = 2';
  const { stdout, stderr, exitCode } = await capstan(["run", "--retries", "1", "--", "sh", "-c", script]);
  expect(stdout).toBe("attempt 1\nattempt 2\n");
  expect(stderr).toMatch(/^capstan: attempt 1 failed \(EXIT_CODE: .*\); the next in .*\n$/);
  expect(exitCode).toBe(0);
});

test("run that no provider takes is given up with the reason and what to do", async () => {
  const args = ["run", "--name", "nowhere", "--provider", "nowhere", "--wait-for-provider", "500ms", "--", "true"];
  const { stderr, exitCode } = await capstan(args);
  expect(exitCode).toBe(125);
  expect(stderr).toMatch(/^capstan: waiting: NO_PROVIDER_MATCHES /);
  expect(stderr).toContain("look at it with: capstan provider get nowhere");
  expect((await jobNamed("nowhere"))["state"]).toBe("JOB_STATE_CANCELLED");
});

test("Ctrl-C cancels the job, and run ends when that is confirmed", async () => {
  const child = startCapstan(["run", "--name", "interrupted", "--", "sh", "-c", "echo started; exec sleep 60"]);
  await once(child.stdout, "data");
  child.kill("SIGINT");
  const { exitCode, stderr } = await endOf(child);
  expect(exitCode).toBe(130);
  expect(stderr).toContain("CANCELLED_BY_USER");
  expect((await jobNamed("interrupted"))["state"]).toBe("JOB_STATE_CANCELLED");
});

test("Ctrl-C again leaves at once with the job's id, and the job is still being cancelled", async () => {
  const script = 'trap "" TERM; echo started; while :; do sleep 0.1; done';
  const child = startCapstan(["run", "--name", "left-alone", "--", "sh", "-c", script]);
  const ended = endOf(child);
  await once(child.stdout, "data");
  child.kill("SIGINT");
  await once(child.stderr, "data");
  child.kill("SIGINT");
  const { exitCode, stderr } = await ended;
  const job = await jobNamed("left-alone");
  expect(exitCode).toBe(130);
  expect(stderr).toContain(`leaving; job ${job["id"]} may still be running`);
  expect(["JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"]).toContain(job["state"]);
});

test("run whose output nobody reads any more cancels its job", async () => {
  const child = startCapstan(["run", "--name", "unread", "--", "yes"]);
  await once(child.stdout, "data");
  child.stdout.destroy();
  await once(child, "exit");
  expect((await jobNamed("unread"))["state"]).toBe("JOB_STATE_CANCELLED");
});

test.each(["hello", "retry", "result", "script", "batch"])("the example %s succeeds", async (name) => {
  const { exitCode, stderr } = await capstan(["job", "submit", "-f", `${examples}${name}.yaml`, "--wait"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
});

test("a job that is waited for and does not succeed ends the command with 4", async () => {
  const { exitCode, stdout } = await capstan(["job", "submit", "-f", `${examples}timeout.yaml`, "--wait"]);
  expect(exitCode).toBe(4);
  expect(stdout).toContain("RUN_TIMEOUT");
});

test("what was submitted can be printed, submitted again and is then there already", async () => {
  const first = await capstan([
    "job",
    "submit",
    "-f",
    `${examples}script.yaml`,
    "--idempotency-key",
    "once",
    "-o",
    "json",
  ]);
  const job = JSON.parse(first.stdout);
  const again = ["job", "submit", "-f", "-", "--idempotency-key", "once"];
  const second = await capstan([...again, "-o", "json"], JSON.stringify(job.spec));
  expect(JSON.parse(second.stdout).id).toBe(job.id);
  const other = await capstan(again, JSON.stringify({ ...job.spec, name: "other" }));
  expect(other).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("refused: IDEMPOTENCY_KEY_REUSED") });
});

test("all bad fields are told, those of one in a list too", async () => {
  const bad = '{name: "", steps: [{command: [""]}]}';
  const one = await capstan(["job", "submit", "-f", "-"], bad);
  expect(one).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/spec\.name: .*\n {2}spec\.steps\[0\]/) });
  const many = await capstan(["job", "submit", "-f", "-"], `- {name: good, steps: [{command: ["true"]}]}\n- ${bad}`);
  expect(many.exitCode).toBe(1);
  expect(many.stdout).toMatch(/good +accepted\n.*refused +INVALID_FIELDS/);
});

test("a file is validated with the lines of all that is wrong with its jobs, and nothing is submitted", async () => {
  const file = `name: validated
steps:
  - name: a
    depends_on:
      - b
---
name: validated
priority: 1000
steps: [{ command: ["true"] }]
`;
  const bad = await capstan(["job", "validate", "-f", "-"], file);
  expect(bad).toMatchObject({ exitCode: 1, stdout: "" });
  expect(bad.stderr.split("\n")).toEqual([
    expect.stringMatching(/^standard input:3: steps\[0\]\.command is empty; /),
    'standard input:5: steps[0].depends_on[0] "b" is not the name of a step',
    "standard input:8: priority is 1000; it must be from -100 to 100",
    "",
  ]);
  const asJson = await capstan(["job", "validate", "-f", "-", "-o", "json"], file);
  expect(asJson.exitCode).toBe(1);
  expect(JSON.parse(asJson.stdout)[2]).toEqual({
    job: 2,
    field: "priority",
    line: 8,
    description: "is 1000; it must be from -100 to 100",
    isNote: false,
  });
  const nowhere = await capstan(["job", "validate", "-f", "-"], "name: x\nsteps:\n  - handler: nobody-has-it\n");
  expect(nowhere).toMatchObject({ exitCode: 0, stderr: "" });
  expect(nowhere.stdout).toMatch(
    /^standard input: the job can be submitted\nstandard input:3: note: steps\[0\] could be placed nowhere now: .+\n$/,
  );
  const unreadable = await capstan(["job", "validate", "-f", "-"], "nmae: x");
  expect(unreadable).toMatchObject({ exitCode: 2, stdout: "" });
  expect(await capstan(["job", "validate", "-f", `${examples}saga.yaml`])).toMatchObject({ exitCode: 0, stderr: "" });
  expect((await capstan(["job", "list", "--filter", 'name = "validated"', "-o", "json"])).stdout.trim()).toBe("[]");
});

test("the steps of a workflow, their items and the log of each can be looked at", async () => {
  const submitted = await capstan(["job", "submit", "-f", `${examples}ci.yaml`, "--wait", "-o", "json"]);
  expect(submitted).toMatchObject({ exitCode: 0, stderr: "" });
  const { id } = JSON.parse(submitted.stdout) as { id: string };
  const got = (await capstan(["job", "get", id])).stdout;
  expect(got).toMatch(/^build +SUCCEEDED +1 +3\/3 /m);
  expect(got).toMatch(/^report +SKIPPED .*NOT_NEEDED$/m);
  const names = async (...options: string[]) => {
    const { stdout } = await capstan(["job", "steps", id, ...options, "-o", "json"]);
    return (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
  };
  expect(await names("--step", "build")).toEqual(["build.0", "build.1", "build.2"]);
  expect(await names()).toEqual(["lint", "unit-tests", "build", "build.0", "build.1", "build.2", "release", "report"]);
  expect((await capstan(["job", "steps", id])).stdout).toMatch(/^build\.2 +SUCCEEDED/m);
  expect((await capstan(["job", "logs", id, "--step", "build.1"])).stdout).toContain("building 4f2c9a1 for macos\n");
  expect((await capstan(["job", "logs", id, "--step", "build.7"])).stderr).toContain('has no step "build.7"');
});

test("a step that waits for a person is approved, and the job tells what it waits for until then", async () => {
  const { stdout } = await capstan(["job", "submit", "-f", `${examples}approval.yaml`, "-o", "json"]);
  const { id } = JSON.parse(stdout) as { id: string };
  await eventually(async () => {
    expect((await capstan(["job", "get", id])).stdout).toMatch(
      /^Reason +ask: APPROVAL: .*Deploy 1\.4\.2, 1024 bytes\?/m,
    );
  }, 30_000);
  const listed = await capstan(["approval", "list"]);
  expect(listed.stdout).toMatch(new RegExp(`^${id} +approval +ask .*Deploy 1\\.4\\.2`, "m"));
  expect(listed.stderr).toContain("capstan job approve JOB --step STEP");
  const approved = await capstan(["job", "approve", id, "--note", "go ahead", "--by", "ada", "--field", "ticket=7"]);
  expect(approved).toMatchObject({ exitCode: 0, stderr: "" });
  expect((await capstan(["job", "wait", id])).exitCode).toBe(0);
  expect((await capstan(["job", "get", id])).stdout).toContain("1.4.2 deployed, approved with: go ahead");
  expect((await capstan(["job", "reject", id])).stderr).toContain("waits for an approval");
  const again = await capstan(["job", "reject", id, "--step", "ask", "--by", "bob"]);
  expect(again.exitCode).not.toBe(0);
  expect(again.stderr).toContain("was approved by ada");
  expect(await capstan(["approval", "list"])).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("nothing waits for an approval"),
  });
});

test("a job is paused, given its signal and resumed, and a signal it does not know is refused", async () => {
  const file = join(directory, "signal.yaml");
  const step = "{ name: go, signal: { name: go } }";
  await writeFile(file, `name: signal\nsteps:\n  - ${step}\n  - { name: end, depends_on: [go], command: ["true"] }\n`);
  const { id } = JSON.parse((await capstan(["job", "submit", "-f", file, "-o", "json"])).stdout) as { id: string };
  const paused = await capstan(["job", "pause", id, "--message", "lunch"]);
  expect(paused.stdout).toMatch(/^Paused +since /m);
  const unknown = await capstan(["job", "signal", id, "stop"]);
  expect(unknown.exitCode).not.toBe(0);
  expect(unknown.stderr).toContain("never waits for signal stop");
  expect((await capstan(["job", "signal", id, "go", "--payload", '{"n":1}'])).exitCode).toBe(0);
  expect((await capstan(["job", "get", id])).stdout).toMatch(/^end +BLOCKED/m);
  expect((await capstan(["job", "resume", id])).exitCode).toBe(0);
  expect((await capstan(["job", "wait", id])).exitCode).toBe(0);
  expect((await capstan(["job", "events", id])).stdout).toMatch(/job\.paused[\s\S]*job\.resumed/);
});

test("a retry from what failed keeps what succeeded", async () => {
  const file = join(directory, "retry.yaml");
  const steps = '  - { name: a, command: ["true"] }\n  - { name: b, depends_on: [a], command: ["false"] }\n';
  await writeFile(file, `name: retry\nsteps:\n${steps}`);
  const submitted = await capstan(["job", "submit", "-f", file, "--wait", "-o", "json"]);
  const { id } = JSON.parse(submitted.stdout) as { id: string };
  const retry = await capstan(["job", "retry", id, "--from-failed"]);
  expect(retry.stdout).toMatch(new RegExp(`^Retry of +${id}$`, "m"));
  expect(retry.stdout).toMatch(/^a +SUCCEEDED/m);
});

test("a job that has failed is run again with another input", async () => {
  const { stdout } = await capstan(["job", "submit", "-f", `${examples}saga.yaml`, "--wait", "-o", "json"]);
  const { id } = JSON.parse(stdout) as { id: string };
  const input = { trip: "Lisbon", price: 700, limit: 1_000 };
  const again = await capstan(["job", "rerun", id, "--input", JSON.stringify(input), "-o", "json"]);
  expect(again).toMatchObject({ exitCode: 0, stderr: "" });
  const { id: newId } = JSON.parse(again.stdout) as { id: string };
  expect((await capstan(["job", "wait", newId])).exitCode).toBe(0);
  expect((await capstan(["job", "get", newId])).stdout).toMatch(new RegExp(`^Run again from +${id}$`, "m"));
});

test("logs are followed through the retries of a job, and any attempt can be asked for", async () => {
  const script = 'echo "attempt $CAPSTAN_ATTEMPT"; test "$CAPSTAN_ATTEMPT" = 2';
  const { stdout } = await capstan(["run", "-d", "--retries", "1", "--", "sh", "-c", script]);
  const jobId = stdout.trim();
  expect((await capstan(["job", "logs", "-f", "--attempt", "all", jobId])).stdout).toBe("attempt 1\nattempt 2\n");
  expect((await capstan(["job", "logs", jobId])).stdout).toBe("attempt 2\n");
  expect((await capstan(["job", "logs", "--attempt", "1", jobId])).stdout).toBe("attempt 1\n");
  const watched = await capstan(["job", "watch", jobId, "--after", "1", "-o", "json"]);
  const sequences = watched.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).sequence);
  expect(sequences).toEqual(Array.from(sequences, (_, index) => index + 2));
});

test("facts of a job are tailed from NATS while it runs", async () => {
  const tail = startCapstan(["events", "tail", "--all", "--type", "job.*", "-o", "json"]);
  const { stdout } = await capstan(["run", "-d", "--name", "tailed", "--", "true"]);
  const types: string[] = [];
  for await (const line of linesOf(tail.stdout)) {
    const event = JSON.parse(line);
    if (event.correlationid === stdout.trim()) types.push(event.type);
    if (types.at(-1) === "capstan.job.v1.job.succeeded") break;
  }
  tail.kill("SIGTERM");
  expect(types).toEqual(["submitted", "started", "succeeded"].map((event) => `capstan.job.v1.job.${event}`));
});

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

test("a provider goes through its life", async () => {
  const register = ["provider", "register", "spare", "--kind", "process", "--slots", "2", "--label", "zone=a"];
  expect((await capstan(register)).stdout).toMatch(/State +ACTIVE/);
  expect((await capstan(["provider", "update", "spare", "--slots", "3", "--label", "disk=ssd"])).stdout).toMatch(
    /Slots +0\/3\n(.*\n)*Labels +(zone=a, disk=ssd|disk=ssd, zone=a)/,
  );
  for (const [move, state] of [
    ["cordon", "CORDONED"],
    ["uncordon", "ACTIVE"],
    ["deactivate", "DISABLED"],
    ["activate", "ACTIVE"],
  ] as const) {
    expect((await capstan(["provider", move, "spare"])).stdout).toMatch(new RegExp(`State +${state}`));
  }
  expect((await capstan(["provider", "delete", "spare"])).exitCode).toBe(0);
  expect(await capstan(["provider", "get", "spare"])).toMatchObject({
    exitCode: 1,
    stderr: 'capstan: refused: PROVIDER_NOT_FOUND: provider "spare" was not found\n',
  });
});

test("each service says whether it is ready, and what it found in its own data", async () => {
  const { stdout } = await capstan(["system", "readiness"]);
  for (const service of ["execution", "gateway", "job", "orchestrator", "provider"]) {
    expect(stdout).toMatch(new RegExp(`^${service} +service +${service} +ok`, "m"));
  }
  expect(await capstan(["system", "checkups"])).toMatchObject({ exitCode: 0, stderr: "" });
});

test("an address where nobody listens is told with what to do", async () => {
  const nowhere = ["--address", "127.0.0.1:1"];
  const text = "capstan: cannot reach Capstan at 127.0.0.1:1; start it with npm start, or set CAPSTAN_ADDRESS\n";
  expect(await capstan(["job", "list", ...nowhere])).toMatchObject({ exitCode: 3, stdout: "", stderr: text });
  expect(await capstan(["run", ...nowhere, "--", "true"])).toMatchObject({ exitCode: 125, stdout: "", stderr: text });
});
