/** A process that is tied to this one by a pipe, so that a run of tests that is killed leaves none behind. */
import { type ChildProcess, spawn } from "node:child_process";

// The second shell waits on the pipe; when we are gone it kills the process, which has taken the first one's place and pid.
const tiedToParent = '( (read -r _ <&3 || kill -s KILL $$) >/dev/null 2>&1 & ); exec 3<&-; exec "$@"';

type Output = "pipe" | "inherit" | "ignore";

export interface SpawnTiedOptions {
  readonly cwd?: string;
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Output;
  readonly stderr: Output;
}

/** Runs the command, without a standard input. */
export function spawnTied(command: readonly string[], { cwd, env, stdout, stderr }: SpawnTiedOptions): ChildProcess {
  const child = spawn("/bin/sh", ["-c", tiedToParent, "sh", ...command], {
    cwd,
    env,
    stdio: ["ignore", stdout, stderr, "pipe"],
  });
  const pipe = child.stdio[3] as NodeJS.WritableStream;
  pipe.on("error", () => {}); // the waiting shell may be gone first
  child.on("exit", () => pipe.end("bye\n"));
  return child;
}
