/**
 * Runs workloads as containers of a Docker engine.
 *
 * A container is found again by its name, so a start may be repeated by anyone: what exists is taken over, and what has exited
 * is collected and never started again. It outlives its runner, and goes only when it is removed.
 */

import type { Container, ContainerCreateOptions, ContainerInspectInfo } from "dockerode";
import {
  type Backend,
  BackendUnavailable,
  type Listing,
  type OutputSink,
  objectName,
  type Running,
  StartRefused,
  type StoredBytes,
  type Workload,
} from "./backend.ts";
import { type Followed, followContainer } from "./dockerContainer.ts";
import { callEngine, callUnless, EngineRefused, openEngine } from "./dockerEngine.ts";
import { createPull, explainPull } from "./dockerImage.ts";
import { containerRequest, EXECUTION_LABEL, INSTALLATION_LABEL } from "./dockerRequest.ts";

/** The engine's words for a container of which no process is left. */
const ended: ReadonlySet<string> = new Set(["exited", "dead"]);
const NOTHING_STORED: StoredBytes = { stdout: 0, stderr: 0 };

interface DockerBackendConfig {
  /** `unix:///path`, `tcp://host:port`, or "" for the socket at its usual place. */
  readonly address: string;
  /** Tells our containers from those of other installations on the same engine: only these are listed, and so reaped. */
  readonly installation: string;
}

/** Opens the backend. Whether the engine is reachable shows with the first call. */
export function openDockerBackend({ address, installation }: DockerBackendConfig): Backend {
  const engine = openEngine(address);
  const pullImage = createPull(engine);
  const closing = new AbortController();
  const running = new Map<string, Promise<Running>>();
  const followed = new Map<string, Followed>();

  const follow = (
    executionId: string,
    container: Container,
    startTime: Date,
    sink: OutputSink,
    stored: StoredBytes,
    attached: Attached | null,
  ) => {
    closing.signal.addEventListener("abort", () => attached?.destroy(), { once: true });
    const one = followContainer({ container, startTime, sink, stored, attached, signal: closing.signal });
    followed.set(executionId, one);
    return one;
  };
  const inspect = (executionId: string) =>
    callUnless([404], (abortSignal) => engine.getContainer(objectName(executionId)).inspect({ abortSignal }));
  const takeOver = (executionId: string, found: ContainerInspectInfo, sink: OutputSink, stored: StoredBytes) =>
    follow(executionId, engine.getContainer(found.Id), new Date(found.State.StartedAt), sink, stored, null);

  /** Creates the container; null when there is one of that name. */
  const create = async (executionId: string, request: ContainerCreateOptions): Promise<Container | null> => {
    // Split, because the client would put the whole request into the address too, secrets and all.
    const options = { _query: { name: objectName(executionId) }, _body: request } as ContainerCreateOptions;
    return callUnless([409], (abortSignal) => engine.createContainer({ ...options, abortSignal }));
  };
  const createWithImage = async (
    executionId: string,
    request: ContainerCreateOptions,
    onPull: (image: string) => void,
  ): Promise<Container | null> => {
    const image = request.Image ?? "";
    try {
      return await create(executionId, request);
    } catch (error) {
      if (!(error instanceof EngineRefused && error.status === 404)) throw refusalOfCreate(error, image);
    }
    onPull(image);
    await pullImage(image);
    return create(executionId, request).catch((error: unknown) => {
      throw refusalOfCreate(error, image);
    });
  };
  const begin = async (
    workload: Workload,
    sink: OutputSink,
    onPull: (image: string) => void = () => {},
  ): Promise<Running> => {
    const { executionId, stdin } = workload;
    let container = await createWithImage(executionId, containerRequest(workload, installation), onPull);
    if (container === null) {
      const found = await inspect(executionId);
      if (found === null) throw new BackendUnavailable("the container of this execution is being removed");
      if (found.State.Status !== "created") return takeOver(executionId, found, sink, NOTHING_STORED);
      container = engine.getContainer(found.Id);
    }
    const attached = await attach(container, stdin !== null);
    try {
      await callEngine((abortSignal) => (container as Container).start({ abortSignal }));
    } catch (error) {
      attached.destroy();
      const refusal = refusalOfStart(error, workload);
      if (refusal instanceof StartRefused) await remove(executionId).catch(() => {}); // else the reaper does
      throw refusal;
    }
    const startTime = new Date();
    if (stdin !== null) attached.end(stdin);
    return follow(executionId, container, startTime, sink, NOTHING_STORED, attached);
  };
  const remove = async (executionId: string): Promise<void> => {
    const container = engine.getContainer(objectName(executionId));
    // 409: somebody else is removing it. v: with the volumes its image may have asked for.
    await callUnless([404, 409], (abortSignal) => container.remove({ force: true, v: true, abortSignal }));
    running.delete(executionId);
    followed.delete(executionId);
  };
  const list = async (): Promise<Listing> => {
    const before = [...followed]; // what is started while it is listed may not be in the list
    const filters = JSON.stringify({ label: [`${INSTALLATION_LABEL}=${installation}`] });
    const found = await callEngine((abortSignal) => engine.listContainers({ all: true, filters, abortSignal }));
    const idsOf = (containers: typeof found) => containers.flatMap(({ Labels }) => Labels[EXECUTION_LABEL] ?? []);
    const alive = new Set(idsOf(found.filter(({ State }) => !ended.has(State))));
    return {
      executionIds: idsOf(found),
      lookAgain: () => before.filter(([id, one]) => !alive.has(id) && one.lookAgain()).map(([id]) => id),
    };
  };
  /** One object is followed once, however often it is asked for. */
  const once = (executionId: string, open: () => Promise<Running>): Promise<Running> => {
    const known = running.get(executionId) ?? open();
    running.set(executionId, known);
    known.catch(() => running.delete(executionId));
    return known;
  };

  return {
    probe: async (signal) => {
      const { Version, ApiVersion } = await callEngine(() => engine.version(), signal);
      return { version: `Docker ${Version}, API ${ApiVersion}` };
    },
    start: (workload, sink, _, onPull) => once(workload.executionId, () => begin(workload, sink, onPull)),
    adopt: async (executionId, sink, stored) => {
      const known = running.get(executionId);
      if (known !== undefined) return known;
      const found = await inspect(executionId);
      // Created and never started: it did nothing and will not.
      if (found === null || found.State.Status === "created") return null;
      return once(executionId, async () => takeOver(executionId, found, sink, stored));
    },
    list,
    remove,
    close: async () => {
      closing.abort();
      running.clear();
      followed.clear();
    },
  };
}

type Attached = AsyncIterable<Buffer> & { destroy(): void; end(bytes: Uint8Array): void };

/** Attached before the start, so that no byte is missed. */
async function attach(container: Container, hasStdin: boolean): Promise<Attached> {
  const stream = await callEngine((abortSignal) =>
    container.attach({ stream: true, stdout: true, stderr: true, stdin: hasStdin, hijack: hasStdin, abortSignal }),
  );
  return stream as unknown as Attached;
}

function refusalOfCreate(error: unknown, image: string): unknown {
  if (!(error instanceof EngineRefused)) return error;
  if (/invalid reference format/i.test(error.message)) return explainPull(image, error.message);
  return refusalOf(error);
}

function refusalOfStart(error: unknown, { command, workingDirectory }: Workload): unknown {
  if (!(error instanceof EngineRefused)) return error;
  const said = error.message;
  if (workingDirectory !== null && /working directory|chdir|mkdir|set in config\.json/i.test(said)) {
    return new StartRefused("BAD_WORKING_DIRECTORY", `the working directory ${workingDirectory} cannot be entered`);
  }
  if (/executable file not found|no such file or directory/i.test(said)) {
    return new StartRefused(
      "COMMAND_NOT_FOUND",
      `the command ${command[0] ?? "of the image"} was not found in the image`,
    );
  }
  if (/permission denied/i.test(said)) {
    return new StartRefused("PERMISSION_DENIED", `the command ${command[0] ?? "of the image"} may not be executed`);
  }
  return refusalOf(error);
}

/** What the engine finds wrong with a request is the workload's fault; what it cannot do now may pass. */
function refusalOf({ status, message }: EngineRefused): Error {
  if (status >= 500) return new BackendUnavailable(`the Docker engine failed (status ${status})`);
  if (/working directory/i.test(message)) return new StartRefused("BAD_WORKING_DIRECTORY", firstLine(message));
  return new StartRefused("START_FAILED", firstLine(message));
}

function firstLine(text: string): string {
  return (text.split("\n")[0] ?? "").slice(0, 300);
}
