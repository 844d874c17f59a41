import { Execution } from "@capstan/proto/capstan/execution/v1/execution.ts";
import { Worker } from "@capstan/proto/capstan/execution/v1/worker.ts";
import { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { Provider } from "@capstan/proto/capstan/provider/v1/provider.ts";
import { expect, test } from "vitest";
import { formatProgress } from "./executionCommands.ts";
import { formatJob } from "./jobView.ts";
import { formatProvider, formatProviders } from "./providerView.ts";
import { formatWorkers } from "./workerView.ts";

const now = new Date("2026-01-01T00:01:00Z");
const createTime = new Date("2026-01-01T00:00:00Z");
const pool = Provider.fromPartial({
  name: "images",
  kind: "PROVIDER_KIND_WORKER",
  capacity: { slots: 150 },
  createTime,
  labels: { site: "x" },
  workerGroups: [
    { handlers: ["crop", "resize"], labels: { gpu: "yes" }, workers: 1, slots: 50 },
    { handlers: ["resize"], workers: 2, slots: 100 },
  ],
});
const local = Provider.fromPartial({
  name: "local",
  kind: "PROVIDER_KIND_PROCESS",
  capacity: { slots: 8 },
  createTime,
});
const words = (text: string) => text.split("\n").map((line) => line.split(/ {2,}/));

test("a worker is one line, from its id to its handlers", () => {
  const worker = Worker.fromPartial({
    id: "w1",
    pool: "images",
    state: "WORKER_STATE_CONNECTED",
    slots: 50,
    handlers: ["crop", "resize"],
    labels: { gpu: "yes" },
    sdk: "capstan-node/0.1.0",
    host: "box/42\u001b[2J",
    createTime,
  });
  expect(words(formatWorkers([worker], now, undefined))).toEqual([
    ["ID", "POOL", "STATE", "SLOTS", "AGE", "HOST", "SDK", "LABELS", "HANDLERS"],
    ["w1", "images", "CONNECTED", "50", "1m", "box/42\\u001b[2J", "capstan-node/0.1.0", "gpu=yes", "crop, resize"],
    [""],
  ]);
  expect(formatWorkers([], now, undefined)).toBe("");
});

test("a pool is listed with its workers and handlers; without any pool the table is as ever", () => {
  const [titles, ofPool, ofLocal] = words(formatProviders([pool, local], now));
  expect(titles?.slice(-3)).toEqual(["LABELS", "WORKERS", "HANDLERS"]);
  expect(ofPool?.slice(-3)).toEqual(["site=x", "3", "crop, resize"]);
  expect(ofLocal?.at(-1)).toBe("-");
  expect(words(formatProviders([local], now))[0]?.at(-1)).toBe("LABELS");
});

test("a pool is shown with its workers, those that are alike in one line", () => {
  const lines = words(formatProvider(pool, now));
  expect(lines).toContainEqual(["Slots", "0/150"]);
  expect(lines).toContainEqual(["Workers", "3"]);
  expect(lines).toContainEqual(["Handlers", "crop, resize"]);
  expect(lines.slice(-4)).toEqual([
    ["WORKERS", "SLOTS", "LABELS", "HANDLERS"],
    ["1", "50", "gpu=yes", "crop, resize"],
    ["2", "100", "resize"],
    [""],
  ]);
  const empty = Provider.fromPartial({ ...pool, workerGroups: [], capacity: { slots: 0 } });
  expect(words(formatProvider(empty, now))).toContainEqual(["Workers", "0"]);
  expect(formatProvider(local, now)).not.toContain("Workers");
});

test("a job with a handler is shown with it and the beginning of its input", () => {
  const jobOf = (step: object) =>
    words(formatJob(Job.fromPartial({ id: "j1", spec: { name: "a", steps: [step] } }), now));
  expect(jobOf({ handler: "resize", input: { width: 7 } })).toEqual(
    expect.arrayContaining([
      ["Handler", "resize"],
      ["Input", '{"width":7}'],
    ]),
  );
  expect(jobOf({ handler: "resize", input: "x".repeat(1_000) }).find(([name]) => name === "Input")?.[1]).toMatch(
    /^"x{499}…$/,
  );
  expect(jobOf({ handler: "resize" }).some(([name]) => name === "Input")).toBe(false);
  expect(jobOf({ command: ["true"] }).some(([name]) => name === "Handler")).toBe(false);
});

test("progress is what was said of it", () => {
  const progress = (said: object) => formatProgress(Execution.fromPartial({ progress: said }).progress);
  expect(progress({ fraction: 0.429, message: "third page" })).toBe("43 %: third page");
  expect(progress({ fraction: 1 })).toBe("100 %");
  expect(progress({ fraction: 0 })).toBe("0 %");
  expect(progress({ message: "third page" })).toBe("third page");
  expect(formatProgress(undefined)).toBe("");
});
