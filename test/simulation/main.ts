/** `npm run test:simulation -- --seeds N [--from S] [--defect "…"]`: as many platforms as there is time for. */
import { parseArgs } from "node:util";
import { describeFailure } from "./describeFailure.ts";
import { type Defect, defects, simulate } from "./simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    defect: { type: "string" },
  },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
const defect = defects.find((known) => known === values.defect);
if (!Number.isInteger(seeds) || seeds < 1 || !Number.isInteger(from))
  throw new Error("--seeds and --from are whole numbers");
if (values.defect !== undefined && defect === undefined) throw new Error(`--defect is one of: ${defects.join("; ")}`);

const begunMs = performance.now();
const sum = { jobs: 0, faults: 0, seconds: 0, longestHealing: 0 };
let failures = 0;
for (let seed = from; seed < from + seeds; seed += 1) {
  const options: { seed: number; defect?: Defect } = defect === undefined ? { seed } : { seed, defect };
  const outcome = await simulate(options);
  sum.jobs += outcome.jobs;
  sum.faults += outcome.faults;
  sum.seconds += outcome.seconds;
  sum.longestHealing = Math.max(sum.longestHealing, outcome.healedAfterSeconds);
  if (outcome.violations.length === 0) continue;
  failures += 1;
  process.stdout.write(describeFailure(options, outcome));
  if (failures === 3) break;
}
const seconds = ((performance.now() - begunMs) / 1_000).toFixed(1);
const hours = (sum.seconds / 3_600).toFixed(1);
process.stdout.write(
  `${seeds} seeds in ${seconds} s: ${hours} simulated hours, ${sum.jobs} jobs, ${sum.faults} faults, longest healing ${sum.longestHealing.toFixed(0)} s, ${failures} failed\n`,
);
process.exitCode = failures > 0 ? 1 : 0;
