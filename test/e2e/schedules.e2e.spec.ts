/** Templates and schedules as a user of the command sees them, with the commands and files that docs/schedules.md shows. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { eventually } from "../support/eventually.ts";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";

const root = new URL("../../", import.meta.url);
const cli = fileURLToPath(new URL("libs/cli/bin/capstan.js", root));
const page = readFileSync(new URL("docs/schedules.md", root), "utf8");

let standalone: Standalone;

beforeAll(async () => {
  standalone = await startStandalone();
});

afterAll(() => standalone?.stop());

interface Ended {
  readonly exitCode: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

function capstan(args: readonly string[], input = ""): Promise<Ended> {
  const env = { ...bareEnv, CAPSTAN_ADDRESS: standalone.address };
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [cli, ...args],
      { env, cwd: fileURLToPath(root) },
      (error, stdout, stderr) => resolve({ exitCode: error?.code ?? 0, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

/** The words of a line as a shell reads them. */
function wordsOf(line: string): readonly string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? "",
  );
}

/** Every command of the page, in its order. */
function commandsOf(text: string): readonly string[] {
  const blocks = [...text.matchAll(/^```sh\n(.*?)```$/gms)].map(([, block = ""]) => block);
  return blocks.flatMap((block) => block.trim().split("\n")).map((line) => line.replace(/\s+#.*$/, ""));
}

test("the page shows the files of examples/", () => {
  const shown = [...page.matchAll(/^\[examples\/([\w-]+\.yaml)\].*?\n\n```yaml\n(.*?)```$/gms)];
  expect(shown.map(([, file]) => file)).toEqual(["report-template.yaml", "nightly-schedule.yaml"]);
  for (const [, file, yaml] of shown) expect(readFileSync(new URL(`examples/${file}`, root), "utf8")).toBe(yaml);
});

test("empty lists say so by their titles alone, and what is not there is refused by its name", async () => {
  expect((await capstan(["template", "list"])).stdout).toMatch(/^NAME +VERSION +STATE.*\n$/);
  expect((await capstan(["schedule", "list"])).stdout).toMatch(/^NAME +STATE +WHEN.*\n$/);
  expect(await capstan(["template", "get", "nobody"])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('template "nobody" was not found'),
  });
  expect(await capstan(["schedule", "get", "nobody"])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('schedule "nobody" was not found'),
  });
});

test("every command of the page works, one after the other", async () => {
  const output = new Map<string, string>();
  for (const line of commandsOf(page)) {
    const [npx, name, ...args] = wordsOf(line);
    expect([npx, name]).toEqual(["npx", "capstan"]);
    const ended = await capstan(args);
    expect(ended, line).toMatchObject({ exitCode: 0 });
    output.set(args.slice(0, 2).join(" "), ended.stdout + ended.stderr);
  }
  expect(output.get("job submit")).toMatch(/SUCCEEDED[\s\S]*report, version 1[\s\S]*"pages":3/);
  expect(output.get("template get")).toMatch(/1 runs, 1 succeeded/);
  expect(output.get("template get")).toMatch(/pages +INTEGER, at least 1, at most 100 +2/);
  expect(output.get("template versions")).toMatch(/1 +PUBLISHED/);
  expect(output.get("schedule preview")?.split("\n")).toHaveLength(5);
  expect(output.get("schedule list")).toMatch(/nightly-report +ACTIVE +30 2 \* \* \* Europe\/Madrid/);
  expect(output.get("schedule trigger")).toMatch(/Source +schedule nightly-report/);
  expect(output.get("schedule pause")).toMatch(/PAUSED[\s\S]*PAUSED_BY_USER: moving house/);
  expect(output.get("schedule resume")).toMatch(/State +ACTIVE/);
  expect(output.get("schedule backfill")).toMatch(/3 runs in that time, 0 of them/);
  expect(output.get("schedule delete")).toMatch(/is forgotten; its jobs stay/);
});

test("the job of a schedule reads its time, and runs from the template's parameters", async () => {
  const spec = `{ name: soon, spec: { interval: 1s, template: { name: report, parameters: { region: us } } } }`;
  expect(await capstan(["schedule", "create", "-f", "-"], spec)).toMatchObject({ exitCode: 0 });
  const jobId = await eventually(async () => {
    const { stdout } = await capstan([
      "job",
      "list",
      "--filter",
      'source = "schedule soon" AND state = SUCCEEDED',
      "-o",
      "json",
    ]);
    const [job] = JSON.parse(stdout) as { id: string }[];
    expect(job).toBeDefined();
    return job?.id ?? "";
  }, 30_000);
  expect((await capstan(["job", "logs", jobId])).stdout).toMatch(/^Daily report of us, 2 pages, for \d{4}-\d\d-\d\dT/);
  expect((await capstan(["schedule", "delete", "soon"])).exitCode).toBe(0);
});

test("from TypeScript a job from a template is submitted by its parameters", async () => {
  const { jobs } = standalone.capstan;
  const job = await jobs.submit({
    template: { name: "report", parameters: { region: "eu" } },
    spec: { name: "monday" },
  });
  expect(await job.result()).toEqual({ region: "eu", pages: 2 });
  expect(await job.get()).toMatchObject({ template: "report", templateVersion: 1, spec: { name: "monday" } });
});

test("what cannot be is refused with every bad field, and nothing is made", async () => {
  const bad = `{ name: bad, spec: { cron: "0 0 30 2 *", time_zone: Mars/Phobos, job: { steps: [{ command: [] }] } } }`;
  const schedule = await capstan(["schedule", "create", "-f", "-"], bad);
  expect(schedule.exitCode).toBe(1);
  expect(schedule.stderr).toMatch(/spec\.time_zone is not a name|spec\.time_zone: is not a name/);
  expect(schedule.stderr).toContain("spec.job.steps[0].command");
  const never = `{ name: bad, spec: { cron: "0 0 30 2 *", job: { steps: [{ command: ["true"] }] } } }`;
  expect((await capstan(["schedule", "create", "-f", "-"], never)).stderr).toContain("never comes");
  const misspelt = await capstan(["schedule", "create", "-f", "-"], `{ name: bad, spec: { crom: "0 0 * * *" } }`);
  expect(misspelt).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("did you mean cron?") });
  const parameters = ["--param", "region=asia", "--param", "pages=many", "--param", "colour=red"];
  const submit = await capstan(["job", "submit", "--template", "report", ...parameters]);
  expect(submit.exitCode).toBe(1);
  for (const name of ["region", "pages", "colour"]) expect(submit.stderr).toContain(`template.parameters.${name}`);
  expect((await capstan(["schedule", "list", "-o", "json"])).stdout).toBe("[]\n");
  expect((await capstan(["job", "submit"])).exitCode).toBe(2);
  expect((await capstan(["template", "archive", "report"])).stderr).toContain("name the version, as in report@1");
});

test("a version that is deprecated says so, and one that is archived is refused", async () => {
  expect((await capstan(["template", "deprecate", "report@1"])).stdout).toMatch(/State +DEPRECATED/);
  const submit = ["job", "submit", "--template", "report@1", "--param", "region=eu"];
  expect(await capstan(submit)).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("version 1 of template report is DEPRECATED"),
  });
  expect((await capstan(["template", "archive", "report@1"])).stdout).toMatch(/State +ARCHIVED/);
  expect(await capstan(submit)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("is ARCHIVED") });
});
