/**
 * How tests reach the failpoints of a process: through a directory that its environment names at start. `armed.*` in it are wishes, one
 * firing each, taken by whichever process passes first; what fired is renamed to `fired.*`. With a file `trace` in it each operation that
 * passes is written to `passed`.
 *
 * Off, which is always so outside of tests, `failpoints` is null: what has one looks once, when it is made, and goes without.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type Armed, type Failpoints, fire } from "./failpoint.ts";

const variable = "CAPSTAN_FAILPOINTS";

/** Why a process with this environment must not start; null when it may. Two settings are needed, so that none is made by mistake. */
export function refusedFailpoints(env: NodeJS.ProcessEnv): string | null {
  if ((env[variable] ?? "") === "" || env["NODE_ENV"] === "test") return null;
  return `${variable}: is for tests of Capstan itself, and refused unless NODE_ENV is test`;
}

/** Null outside of tests. Read once, at start. */
export const failpoints: Failpoints | null = openFailpoints(process.env);

/** Null unless the environment wants them and is that of a test. */
export function openFailpoints(env: NodeJS.ProcessEnv): Failpoints | null {
  const directory = env[variable] ?? "";
  if (directory === "" || refusedFailpoints(env) !== null) return null;
  const isTraced = existsSync(join(directory, "trace"));
  return {
    async around(point, stage, operation, guarded = {}) {
      if (isTraced) {
        const words = [...new Set(guarded.words?.() ?? [])];
        appendFileSync(join(directory, "passed"), `${JSON.stringify({ point, stage, words })}\n`);
      }
      const armed = take(directory, (wish) => {
        if (wish.point !== point || wish.stage !== stage) return false;
        return wish.word === undefined || new Set(guarded.words?.() ?? []).has(wish.word);
      });
      return armed === null ? operation() : fire(armed, operation, guarded);
    },
  };
}

/** Takes the first wish that is meant for this operation; null if there is none, or another process was first. */
function take(directory: string, isMeant: (armed: Armed) => boolean): Armed | null {
  for (const name of readdirSync(directory).filter((each) => each.startsWith("armed."))) {
    try {
      const armed = JSON.parse(readFileSync(join(directory, name), "utf8")) as Armed;
      if (!isMeant(armed)) continue;
      renameSync(join(directory, name), join(directory, name.replace("armed.", "fired.")));
      return armed;
    } catch {
      // Taken by another process between two of these calls.
    }
  }
  return null;
}
