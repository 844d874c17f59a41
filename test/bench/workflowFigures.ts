/** The figures of jobs of many steps: how long they take when no step does anything, so that only the way from step to step is left. */
import type { Capstan } from "@capstan/client";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Figures } from "./figures.ts";
import type { Load } from "./load.ts";
import type { Options } from "./options.ts";
import { cpuMs } from "./processes.ts";

interface WorkflowBench {
  readonly capstan: Capstan;
  readonly load: Load;
  readonly figures: Figures;
  /** Whose CPU counts, with their children. */
  readonly roots: readonly number[];
}

const fanOut = 998;
const hops = 100;
/** The first of each shape warms up code and plans. */
const tries = 2;

export async function measureWorkflows(bench: WorkflowBench, { slots }: Options): Promise<void> {
  const { load, figures } = bench;
  await load.work(slots);
  const fan = await lastOf(bench, [
    aStep("first"),
    ...Array.from({ length: fanOut }, (_, index) => aStep(`step-${index}`, ["first"])),
    aStep(
      "last",
      Array.from({ length: fanOut }, (_, index) => `step-${index}`),
    ),
  ]);
  figures.note(`workflow of 1 → ${fanOut} → 1 steps`, "s", fan.seconds);
  figures.note(`CPU per step of 1 → ${fanOut} → 1, all processes`, "ms", fan.cpuMs / (fanOut + 2));
  const names = Array.from({ length: hops }, (_, index) => `step-${index}`);
  const chain = await lastOf(
    bench,
    names.map((name, index) => aStep(name, names.slice(Math.max(0, index - 1), index))),
  );
  figures.note(`workflow of a chain of ${hops} steps`, "s", chain.seconds);
  figures.note("a hop of the chain", "ms", (chain.seconds * 1_000) / hops);
  await load.rest();
}

function aStep(name: string, dependsOn: readonly string[] = []) {
  return { name, dependsOn, handler: "bench", input: { submitMs: 0 }, placement: { provider: "bench" } };
}

/** From the call of submit to the answer that the job has succeeded; the last of the tries. */
async function lastOf(
  { capstan, roots }: WorkflowBench,
  steps: readonly object[],
): Promise<{ readonly seconds: number; readonly cpuMs: number }> {
  const spec = JobSpec.fromJSON({ name: "bench-workflow", steps });
  let measured = { seconds: Number.NaN, cpuMs: Number.NaN };
  for (let each = 0; each < tries; each += 1) {
    const [cpuBefore, start] = [cpuMs(roots), performance.now()];
    const job = await capstan.jobs.submit({ spec });
    await job.result({ signal: AbortSignal.timeout(120_000) });
    measured = { seconds: (performance.now() - start) / 1_000, cpuMs: cpuMs(roots) - cpuBefore };
  }
  return measured;
}
