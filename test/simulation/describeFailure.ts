/** A seed that failed, as a test that can be put into a spec file as it is. */
import type { Outcome, Simulation } from "./simulate.ts";

export function describeFailure({ seed, defect }: Simulation, { violations, trace }: Outcome): string {
  const options = defect === undefined ? `{ seed: ${seed} }` : `{ seed: ${seed}, defect: ${JSON.stringify(defect)} }`;
  const lines = violations.slice(0, 10).map((what) => `  //   ${what}`);
  return `
test("the platform of seed ${seed} ends as it must", async () => {
  // It did not:
${lines.join("\n")}
  // after
${trace.map((what) => `  //   ${what}`).join("\n")}
  expect((await simulate(${options})).violations).toEqual([]);
});
`;
}
