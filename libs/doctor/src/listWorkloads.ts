/** What runs for executions, found from outside: in /proc of this machine and in Docker engines, not in any table of ours. */
import { readdir, readFile } from "node:fs/promises";
import type { Db } from "@capstan/postgres";
import Docker from "dockerode";
import type { Workload } from "./observed.ts";

const callLimitMs = 5_000;

/** A client for `unix:///path`, `tcp://host:port`, or "" for the socket at its usual place; null for anything else. */
function openEngine(endpoint: string): Docker | null {
  if (endpoint === "") return new Docker({ socketPath: "/var/run/docker.sock", timeout: callLimitMs });
  const url = URL.parse(endpoint);
  if (url?.protocol === "unix:") return new Docker({ socketPath: url.pathname, timeout: callLimitMs });
  if (url?.protocol !== "tcp:") return null;
  const { hostname: host, port } = url;
  return new Docker({ host, port: port || "2375", protocol: "http", timeout: callLimitMs });
}

/**
 * The processes of this machine and the containers of every engine that a provider stands for and that answers from here; `engines` are
 * the providers of those.
 */
export async function findWorkloads(db: Db): Promise<{
  readonly workloads: readonly Workload[];
  readonly engines: readonly string[];
  readonly silent: readonly string[];
}> {
  const { rows } = await db.query<{ id: string; name: string; endpoint: string }>(
    "select id, name, endpoint from provider.provider where kind = 'DOCKER'",
  );
  const answers = await Promise.all(
    rows.map(async ({ id, name, endpoint }) => {
      const engine = openEngine(endpoint);
      const containers = engine === null ? null : await listContainers(engine).catch(() => null);
      return { id, name, containers };
    }),
  );
  const answered = answers.filter(({ containers }) => containers !== null);
  return {
    workloads: [...(await listProcesses()), ...answered.flatMap(({ containers }) => containers ?? [])],
    engines: answered.map(({ id }) => id),
    silent: answers.filter(({ containers }) => containers === null).map(({ name }) => name),
  };
}

/** Every living process and every container, running or not, that carries an execution's mark. */
export async function listWorkloads(engine: Docker | null): Promise<readonly Workload[]> {
  const [processes, containers] = await Promise.all([listProcesses(), engine === null ? [] : listContainers(engine)]);
  return [...processes, ...containers];
}

const marker = "CAPSTAN_EXECUTION_ID=";

/** None where there is no /proc; of others' processes only an administrator sees the mark. */
async function listProcesses(): Promise<readonly Workload[]> {
  const names = await readdir("/proc").catch(() => []);
  const found = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map(readWorkload));
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
