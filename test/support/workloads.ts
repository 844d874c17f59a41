/** What runs on this machine for executions, found from outside: in /proc and in the Docker engine, not in any table of ours. */
import { readdir, readFile } from "node:fs/promises";
import Docker from "dockerode";

/** A process or a container that belongs to an execution. */
export interface Workload {
  readonly executionId: string;
  /** `process <pid> <command>` or `container <name>`. */
  readonly ref: string;
}

/** Null when no engine answers at the address that a provider has by default; otherwise a client of it. */
export async function findDockerEngine(): Promise<Docker | null> {
  const engine = new Docker({ socketPath: "/var/run/docker.sock", timeout: 5_000 });
  return engine.ping().then(
    () => engine,
    () => null,
  );
}

/** Every living process and every container, running or not, that carries an execution's mark. */
export async function listWorkloads(engine: Docker | null): Promise<readonly Workload[]> {
  const [processes, containers] = await Promise.all([listProcesses(), engine === null ? [] : listContainers(engine)]);
  return [...processes, ...containers];
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

const marker = "CAPSTAN_EXECUTION_ID=";

async function listProcesses(): Promise<readonly Workload[]> {
  const found = await Promise.all((await listPids()).map(readWorkload));
  return found.filter((workload) => workload !== null);
}

/** Null when it is none, or is gone. A zombie has no environment any more and counts as gone. */
async function readWorkload(pid: string): Promise<Workload | null> {
  const [environment, command] = await Promise.all(
    ["environ", "cmdline"].map((file) => readFile(`/proc/${pid}/${file}`, "latin1").catch(() => "")),
  );
  const mark = environment?.split("\0").find((entry) => entry.startsWith(marker));
  if (mark === undefined) return null;
  return { executionId: mark.slice(marker.length), ref: `process ${pid} ${command?.replaceAll("\0", " ").trim()}` };
}

const label = "dev.capstan.execution-id";

async function listContainers(engine: Docker): Promise<readonly Workload[]> {
  const containers = await engine.listContainers({ all: true, filters: JSON.stringify({ label: [label] }) });
  return containers.map(({ Labels, Names, State }) => ({
    executionId: Labels[label] ?? "",
    ref: `container ${Names[0] ?? "?"} (${State})`,
  }));
}
