/** Runs the command line. Never calls `process.exit`, so that what was printed is never cut off; a leftover handle would keep us up. */
import { explainFailure } from "./failure.ts";
import { createProgram } from "./program.ts";

// A reader that goes away shows up where we write; without a listener it would end the process as a defect.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

try {
  await createProgram().parseAsync();
} catch (error) {
  const { exitCode, lines } = explainFailure(error);
  for (const line of lines) process.stderr.write(`${line}\n`);
  process.exitCode = exitCode;
}
