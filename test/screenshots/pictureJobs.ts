/** What the pictures of the console show: real jobs on a real platform, of the kinds that people have. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@capstan/client";
import { parse } from "yaml";
import { camelNames } from "../../services/gateway/console/specText.ts";

const examples = new URL("../../examples/", import.meta.url);
const pauseMs = 900;

export interface Pictured {
  /** A workflow that waits for a person. */
  readonly workflowId: string;
  /** A job whose log is being written. */
  readonly streamingId: string;
  stop(): Promise<void>;
}

async function example(name: string): Promise<Record<string, unknown>> {
  return camelNames(parse(await readFile(new URL(name, examples), "utf8"))) as Record<string, unknown>;
}

function createCalls(api: string) {
  async function call(method: string, path: string, body: unknown): Promise<{ job?: { id: string } }> {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(new URL(path, api), { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as { job?: { id: string } };
  }
  return {
    put: (path: string, body: unknown) => call("PUT", path, body),
    post: (path: string, body: unknown = {}) => call("POST", path, body),
    submit: async (spec: object) => (await call("POST", "jobs", { spec })).job?.id ?? "",
  };
}

const script = (content: string, more: object = {}) => ({ script: { content }, ...more });

const workflow = {
  name: "build-and-release",
  labels: { team: "platform", branch: "main" },
  input: { targets: ["linux", "macos", "windows", "bsd"] },
  steps: [
    { name: "checkout", ...script("echo cloning; sleep 1; echo at 4f2c9a1") },
    { name: "lint", dependsOn: ["checkout"], ...script("for i in 1 2 3 4 5 6; do echo file $i; sleep 0.3; done") },
    {
      name: "unit-tests",
      dependsOn: ["checkout"],
      ...script(`for i in $(seq 1 60); do echo "ok $i"; sleep 0.1; done; echo 'CAPSTAN_OUTPUT={"passed": 214}'`),
    },
    {
      name: "build",
      dependsOn: ["lint"],
      forEach: { expression: "input.targets", maxParallel: 2 },
      env: { TARGET: "${{ item }}" },
      ...script('echo "building $TARGET"; sleep 2'),
    },
    {
      name: "integration",
      dependsOn: ["build"],
      retry: { maxAttempts: 3, initialBackoff: "2s" },
      ...script('sleep 1; echo "attempt $CAPSTAN_ATTEMPT"; test "$CAPSTAN_ATTEMPT" -ge 2'),
    },
    {
      name: "approve",
      dependsOn: ["integration", "unit-tests"],
      approval: { message: "Release revision 4f2c9a1 to production?", timeout: "86400s" },
    },
    { name: "deploy", dependsOn: ["approve"], compensate: "rollback", command: ["echo", "deployed"] },
    { name: "announce", dependsOn: ["deploy"], command: ["echo", "announced"] },
    { name: "rollback", command: ["echo", "rolled back"] },
  ],
};

const names = ["render-report", "import-orders", "resize-images", "nightly-backup", "send-digest"];
const teams = ["red", "blue", "green"];

/** One of many short jobs, of which some fail. */
function shortJob(number: number): object {
  const isBad = number % 11 === 4;
  const end = isBad ? `echo "the warehouse does not answer" >&2; exit ${1 + (number % 2)}` : "echo done";
  return {
    name: names[number % names.length],
    queue: number % 3 === 0 ? "mail" : number % 7 === 1 ? "reports" : "",
    labels: { team: teams[number % teams.length], region: number % 2 === 0 ? "eu" : "us" },
    steps: [script(`echo "part $CAPSTAN_ATTEMPT of ${number}"; sleep 0.${number % 9}; ${end}`)],
  };
}

/** Keeps the platform at work for so long, and leaves it with something of each kind. */
export async function workForPictures(url: string, grpcAddress: string, minutes: number): Promise<Pictured> {
  const { put, post, submit } = createCalls(`${url}/api/v1/`);
  await put("queues/mail", { settings: { weight: 3, maxRunning: 4, rate: { count: 600, period: "60s" } } });
  await put("queues/reports", { settings: { weight: 1, maxRunning: 2, maxDepth: 5_000 } });
  await post("templates", await example("report-template.yaml"));
  await post("templates/report:publish");
  await post("schedules", await example("nightly-schedule.yaml"));
  const capstan = connect({ address: grpcAddress });
  const worker = await capstan.worker({
    pool: "numbers",
    slots: 16,
    handlers: { double: (input) => Number(input) * 2 },
  });

  await submit({
    name: "needs-a-gpu",
    steps: [
      {
        command: ["train"],
        placement: { constraints: [{ key: "gpu", operator: "LABEL_OPERATOR_EQ", values: ["a100"] }] },
      },
    ],
  });
  await submit({ name: "translate", steps: [{ handler: "translate", input: "good morning" }] });
  const end = Date.now() + minutes * 60_000;
  for (let number = 0; Date.now() < end; number += 1) {
    await Promise.all(Array.from({ length: 1 + (number % 4) }, (_, each) => submit(shortJob(number * 4 + each))));
    if (number % 5 === 0) await submit({ name: "double", steps: [{ handler: "double", input: number }] });
    if (number % 9 === 0)
      await submit({ name: "too-slow", steps: [script("sleep 60", { runTimeout: "1s", stopGrace: "1s" })] });
    if (number % 20 === 0) await post("jobs", { template: { name: "report", parameters: { region: "eu" } } });
    await sleep(pauseMs);
  }
  const workflowId = await submit(workflow);
  const streamingId = await submit({
    name: "migrate-orders",
    labels: { team: "blue" },
    steps: [
      script(
        `for i in $(seq 1 3000); do echo "$(date +%T) moved batch $i of 3000, 500 rows"; [ $((i % 12)) = 0 ] && echo "batch $i was slow" >&2; sleep 0.25; done`,
      ),
    ],
  });
  return {
    workflowId,
    streamingId,
    async stop() {
      await worker.stop();
      capstan.close();
    },
  };
}
