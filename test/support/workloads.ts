/** What runs on this machine for executions, found from outside: in /proc and in the Docker engine, not in any table of ours. */
import { readdir, readFile } from "node:fs/promises";
import Docker from "dockerode";

export { listWorkloads } from "@capstan/doctor";

/** Null when no engine answers at the address that a provider has by default; otherwise a client of it. */
export async function findDockerEngine(): Promise<Docker | null> {
  const engine = new Docker({ socketPath: "/var/run/docker.sock", timeout: 5_000 });
  return engine.ping().then(
    () => engine,
    () => null,
  );
}

/** What the tests run in containers. */
export const image = "busybox:latest";

/** Why containers cannot be tried here; null when they can. */
export async function whyNoContainers(): Promise<string | null> {
  const engine = await findDockerEngine();
  if (engine === null) return "no Docker engine answers at /var/run/docker.sock";
  const hasImage = await engine
    .getImage(image)
    .inspect()
    .then(
      () => true,
      () => false,
    );
  return hasImage ? null : `the Docker engine has no image ${image}; .ci/run builds one`;
}

/** The command lines of living processes that name a path, such as a directory that only one test knows. */
export async function listProcessesNaming(path: string): Promise<readonly string[]> {
  const lines = await Promise.all(
    (await listPids()).map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.filter((line) => line.includes(path)).map((line) => line.replaceAll("\0", " ").trim());
}

async function listPids(): Promise<readonly string[]> {
  return (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
}
