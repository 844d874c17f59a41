/**
 * The Docker engine, where one answers: what it tells of our containers, from its own record of events, and a bad link to it. The
 * engine itself is others' too and is left alone.
 */
import { join } from "node:path";
import Docker from "dockerode";
import { type LinkProxy, openProxy } from "./proxy.ts";

export interface ContainerEvent {
  readonly executionId: string;
  readonly action: "start" | "die" | "destroy";
  readonly timeMs: number;
}

export interface Engine {
  readonly docker: Docker;
  /** What services are told to use. */
  readonly endpoint: string;
  readonly link: LinkProxy;
  /** Of every execution on this engine, others' too, since it was opened; in order. */
  readonly events: readonly ContainerEvent[];
  close(): Promise<void>;
}

export interface ContainerSeen {
  readonly executionId: string;
  readonly installation: string;
  readonly isRunning: boolean;
}

export const image = "busybox:latest";
const label = { execution: "dev.capstan.execution-id", installation: "dev.capstan.installation" };

function socketPath(): string {
  const host = process.env["DOCKER_HOST"] ?? "";
  return host.startsWith("unix://") ? host.slice("unix://".length) : "/var/run/docker.sock";
}

/** Gives back why not, where there is no engine with an image to run. */
export async function openEngine(directory: string): Promise<Engine | string> {
  const path = socketPath();
  const docker = new Docker({ socketPath: path });
  const hasImage = await docker.ping().then(
    () =>
      docker
        .getImage(image)
        .inspect()
        .then(
          () => true,
          () => false,
        ),
    () => null,
  );
  if (hasImage === null) return `no Docker engine answers at ${path}`;
  if (!hasImage) return `the Docker engine has no image ${image}`;
  const proxyPath = join(directory, "docker.sock");
  const link = await openProxy({ targets: [{ path }], listen: { path: proxyPath } });
  const events: ContainerEvent[] = [];
  const stream = await docker.getEvents({
    filters: { type: ["container"], event: ["start", "die", "destroy"], label: [label.execution] },
  });
  let rest = "";
  stream.on("data", (data: Buffer) => {
    const lines = (rest + data.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") events.push(readEvent(line));
  });
  stream.on("error", () => {});
  return {
    docker,
    endpoint: `unix://${proxyPath}`,
    link,
    events,
    close: async () => {
      (stream as unknown as { destroy(): void }).destroy();
      await link.close();
    },
  };
}

function readEvent(line: string): ContainerEvent {
  const { Action, Actor, timeNano } = JSON.parse(line) as {
    Action: ContainerEvent["action"];
    Actor: { Attributes: Record<string, string> };
    timeNano: number;
  };
  return { executionId: Actor.Attributes[label.execution] ?? "", action: Action, timeMs: timeNano / 1e6 };
}

/** Every container that is an execution's, running or not. */
export async function listContainers(docker: Docker): Promise<readonly ContainerSeen[]> {
  const found = await docker.listContainers({ all: true, filters: { label: [label.execution] } });
  return found.map(({ Labels, State }) => ({
    executionId: Labels[label.execution] ?? "",
    installation: Labels[label.installation] ?? "",
    isRunning: State === "running",
  }));
}

export async function removeContainer(docker: Docker, executionId: string): Promise<void> {
  await docker.getContainer(`capstan-${executionId}`).remove({ force: true });
}
