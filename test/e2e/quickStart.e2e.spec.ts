/** The commands of the README, as a new user types them. What the README shows and nobody tries here fails a test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Worker } from "@capstan/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { eventually } from "../support/eventually.ts";
import { findFreePort } from "../support/freePort.ts";
import { findDockerEngine, listProcessesNaming } from "../support/workloads.ts";

const root = join(import.meta.dirname, "../..");

interface Command {
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
  stdout(): string;
}

let directory: string;
let env: NodeJS.ProcessEnv;
let platform: Command;

/** Runs a line in a shell, in a process group of its own, as a terminal does. */
function type(line: string): Command {
  const child = spawn("sh", ["-c", line], { cwd: root, env, detached: true });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk: Buffer) => {
      output[name] += chunk;
    });
  }
  const ended = once(child, "close").then(() => ({ code: child.exitCode, ...output }));
  return { process: child, ended, stdout: () => output.stdout };
}

/** Ctrl-C in the terminal: the signal goes to all that the line has started. */
function interrupt({ process: child }: Command): void {
  if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "capstan-quick-start-"));
  const [grpc, health, postgres, nats] = [
    await findFreePort(),
    await findFreePort(),
    await findFreePort(),
    await findFreePort(),
  ];
  // Other ports than the README's, which may be taken on the machine that tests.
  env = {
    ...bareEnv,
    HOME: process.env["HOME"],
    CAPSTAN_DATA_DIR: directory,
    CAPSTAN_WORK_DIR: join(directory, "work"),
    CAPSTAN_GRPC_ADDRESS: `127.0.0.1:${grpc}`,
    CAPSTAN_HEALTH_ADDRESS: `127.0.0.1:${health}`,
    CAPSTAN_HTTP_ADDRESS: "127.0.0.1:0",
    CAPSTAN_POSTGRES_PORT: String(postgres),
    CAPSTAN_NATS_PORT: String(nats),
    CAPSTAN_ADDRESS: `127.0.0.1:${grpc}`,
    CAPSTAN_NATS_URL: "",
  };
  platform = type("exec npm start");
  await eventually(() => platform.stdout().includes("Capstan is ready"), 30_000);
  env["CAPSTAN_NATS_URL"] = `nats://127.0.0.1:${nats}`;
});

afterAll(async () => {
  interrupt(platform);
  const { stderr } = await platform.ended;
  const left = await listProcessesNaming(directory);
  await rm(directory, { recursive: true, force: true });
  expect({ stderr, left }).toEqual({ stderr: "", left: [] });
});

/** The id of a job of this name. */
async function jobNamed(name: string): Promise<string> {
  const { stdout } = await type("npx capstan job list -o json").ended;
  const jobs = JSON.parse(stdout) as { id: string; spec: { name: string } }[];
  return jobs.find(({ spec }) => spec.name === name)?.id ?? "";
}

async function withWorker(trial: (worker: Worker) => Promise<void>): Promise<void> {
  const capstan = connect({ address: env["CAPSTAN_ADDRESS"] ?? "" });
  const handlers = { double: (input: number) => input * 2 };
  const worker = await capstan.worker({ pool: "numbers", slots: 1, handlers });
  try {
    await trial(worker);
  } finally {
    await worker.stop();
    capstan.close();
  }
}

/** What each line of the README's "Using it" comes to. */
const trials: Readonly<Record<string, (line: string) => Promise<void>>> = {
  "npm start": async () => {
    const lines = platform
      .stdout()
      .split("\n")
      .filter((line) => line.includes("Capstan is ready"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(
      /gRPC 127\.0\.0\.1:\d+ · NATS nats:\/\/\S+ · Postgres postgres:\/\/\S+ · health http:\/\/\S+/,
    );
  },
  "npx capstan run -- sh -c 'echo hello; exit 3'": async (line) => {
    const { code, stdout } = await type(line).ended;
    expect({ code, stdout }).toEqual({ code: 3, stdout: "hello\n" });
  },
  "npx capstan run --image busybox -- uname -a": async (line) => {
    const { code, stdout, stderr } = await type(line).ended;
    if ((await findDockerEngine()) === null) expect(stderr).toMatch(/docker/i);
    else expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining("Linux") });
  },
  "npx capstan job submit -f examples/retry.yaml --wait": async (line) => {
    expect((await type(line).ended).code).toBe(0);
  },
  "npx capstan job validate -f examples/ci.yaml": async (line) => {
    const { code, stdout } = await type(line).ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: "examples/ci.yaml: the job can be submitted\n" });
  },
  "npx capstan explain <job id>": async (line) => {
    expect((await type("npx capstan job submit -f examples/handler.yaml").ended).code).toBe(0);
    const id = await jobNamed("handler");
    const explained = line.replace("<job id>", id);
    await eventually(async () => expect((await type(explained).ended).stdout).toMatch(/NO_PROVIDER_MATCHES/), 30_000);
    expect((await type(`npx capstan job cancel ${id}`).ended).code).toBe(0);
  },
  "npx capstan queue set mail --max-running 5": async (line) => {
    const { code, stdout } = await type(line).ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/mail/) });
  },
  "npx capstan job list --state failed": async (line) => {
    const { code, stdout } = await type(line).ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/FAILED/i);
  },
  "npx capstan job logs <job id> -f": async (line) => {
    expect((await type("npx capstan job submit -f examples/hello.yaml --wait").ended).code).toBe(0);
    const { code, stdout } = await type(line.replace("<job id>", await jobNamed("hello"))).ended;
    expect(code).toBe(0);
    expect(stdout).not.toBe("");
  },
  "npx capstan run --handler double --input 21": async (line) => {
    await withWorker(async () => {
      const { code, stdout } = await type(line).ended;
      expect({ code, stdout: stdout.trim() }).toEqual({ code: 0, stdout: "42" });
    });
  },
  "npx capstan worker list": async (line) => {
    await withWorker(async ({ id }) => {
      const { code, stdout } = await type(line).ended;
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`${id} .*double`));
    });
  },
  "npx capstan provider list": async (line) => {
    const { code, stdout } = await type(line).ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/local .*HEALTHY/i);
  },
  "npx capstan events tail": async (line) => {
    const tail = type(line);
    await eventually(async () => {
      await type("npx capstan run -- true").ended;
      expect(tail.stdout()).toMatch(/job\.submitted[\s\S]*job\.succeeded/);
    });
    interrupt(tail);
    await tail.ended;
  },
  "npx capstan --help": async (line) => {
    const { code, stdout } = await type(line).ended;
    expect(code).toBe(0);
    for (const command of ["run", "job", "provider", "events", "migrate"]) expect(stdout).toContain(`  ${command}`);
  },
};

test("every command that the README shows is tried here", async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const block = /## Using it\s+```sh\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const lines = block.split("\n").map((line) => line.replace(/ {2,}#.*$/, "").trim());
  expect(lines.filter((line) => line !== "")).toEqual(Object.keys(trials));
});

test.each(Object.entries(trials))("%s", async (line, trial) => trial(line));

test("the program that the README shows prints what it says", async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const [, program = "", prints] = /```js\n([\s\S]*?; \/\/ (\d+)\n[\s\S]*?)```/.exec(readme) ?? [];
  env["PROGRAM"] = program.replace("127.0.0.1:7100", env["CAPSTAN_ADDRESS"] ?? "");
  const { code, stdout, stderr } = await type(`'${process.execPath}' --input-type=module -e "$PROGRAM"`).ended;
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${prints}\n`, stderr: "" });
});

test("every example of a job is accepted", async () => {
  const { code } = await type(
    "set -e; for file in $(grep -L '^spec:' examples/*.yaml); do npx capstan job submit --validate-only -f $file; done",
  ).ended;
  expect(code).toBe(0);
}, 180_000);

test("npm run demo shows real jobs and ends well, beside a platform that runs", async () => {
  const { code, stdout, stderr } = await type("npm run demo").ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  for (const words of ["SUCCEEDED", "TIMED_OUT", "CANCELLED", "step.backed_off", "jobs/s", "Summary"])
    expect(stdout).toContain(words);
}, 120_000);
