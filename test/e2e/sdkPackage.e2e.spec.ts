/** The SDK as a user gets it: a packed tarball in an empty project, with TypeScript and with plain JavaScript on an older Node. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const tsc = join(root, "node_modules/typescript/bin/tsc");
const manifestPath = join(root, "libs/client/package.json");

let standalone: Standalone;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "capstan-sdk-"));
  const manifest = await readFile(manifestPath, "utf8");
  await run("npm", ["pack", "--pack-destination", directory], { cwd: join(root, "libs/client") });
  expect(await readFile(manifestPath, "utf8")).toBe(manifest);
  const [tarball = ""] = (await readdir(directory)).filter((name) => name.endsWith(".tgz"));
  await writeFile(join(directory, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`], { cwd: directory });
  standalone = await startStandalone();
});

afterAll(async () => {
  await standalone?.stop();
  await rm(directory, { recursive: true, force: true });
});

test("a TypeScript program compiles strictly, its libraries' types included, and knows what handlers take and return", async () => {
  await writeFile(
    join(directory, "program.ts"),
    `import { connect, defineHandlers, DomainError, JobFailed, NonRetryable } from "@capstan/client";

const handlers = defineHandlers({
  resize: async (input: { url: string }, { signal, log, progress, attempt, idempotencyKey }) => {
    if (input.url === "") throw new NonRetryable("there is no url");
    log(\`attempt \${attempt} of \${idempotencyKey}\`);
    progress(0.5, "half");
    signal.throwIfAborted();
    return { width: 100 };
  },
});
const capstan = connect<typeof handlers>({ address: process.argv[2] ?? "" });
const worker = await capstan.worker({ pool: "typed", slots: 2, handlers });
const job = await capstan.jobs.submit({ name: "resize", handler: "resize", input: { url: "u" } });
const { width } = await job.result();
const twice: number = width * 2;
// @ts-expect-error the input has no such field
await capstan.jobs.submit({ name: "resize", handler: "resize", input: { uri: "u" } }).catch(() => {});
// @ts-expect-error there is no such handler
await capstan.jobs.submit({ name: "resize", handler: "crop", input: {} }).catch(() => {});
try {
  await (await capstan.jobs.submit({ name: "resize", handler: "resize", input: { url: "" } })).result();
} catch (error) {
  if (error instanceof JobFailed && error.reason === "NON_RETRYABLE") console.log(twice, error.message);
  if (error instanceof DomainError) console.log(error.code);
}
await worker.stop({ graceMs: 1_000 });
capstan.close();
`,
  );
  const compilerOptions = { strict: true, module: "nodenext", target: "es2022", skipLibCheck: false, outDir: "out" };
  await writeFile(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
  await run(process.execPath, [tsc, "--project", directory]).catch(({ stdout }) => expect(stdout).toBe(""));
  const { stdout } = await run(process.execPath, [join(directory, "out/program.js"), standalone.address]);
  expect(stdout).toBe("200 there is no url\n");
});

/** The machine's own Node; npm puts ours before it. */
async function findOtherNode(): Promise<string> {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  for (const folder of folders) {
    const program = join(folder, "node");
    const version = await run(program, ["--version"]).then(
      ({ stdout }) => stdout.trim(),
      () => null,
    );
    if (version !== null && Number(version.slice(1).split(".")[0]) >= 20) {
      console.log(`plain JavaScript runs on ${program}, which is ${version}`);
      return program;
    }
  }
  console.log(`plain JavaScript runs on ${process.version}: this machine has no other Node from 20 on`);
  return process.execPath;
}

test("plain JavaScript runs on the machine's own Node", async () => {
  await mkdir(join(directory, "plain"), { recursive: true });
  const program = join(directory, "plain/program.mjs");
  await writeFile(
    program,
    `import { connect } from "@capstan/client";
const capstan = connect({ address: process.argv[2] });
const worker = await capstan.worker({ pool: "plain", slots: 2, handlers: { double: (input) => input * 2 } });
const outcomes = await capstan.jobs.submitMany([1, 2, 3].map((input) => ({ name: "double", handler: "double", input })));
const results = await Promise.all(outcomes.map(({ job }) => job.result()));
const types = [];
for await (const { type } of outcomes[0].job.events()) types.push(type);
console.log(JSON.stringify({ results, last: types.at(-1) }));
await worker.stop();
capstan.close();
`,
  );
  const { stdout, stderr } = await run(await findOtherNode(), [program, standalone.address]);
  expect({ stdout, stderr }).toEqual({ stdout: '{"results":[2,4,6],"last":"job.succeeded"}\n', stderr: "" });
});
