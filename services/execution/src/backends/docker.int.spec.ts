import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../../../../test/support/eventually.ts";
import { type Backend, BackendLost, BackendUnavailable, objectName, type Workload } from "./backend.ts";
import { createMemorySink, createWorkload, describeBackend } from "./conformance.ts";
import { openDockerBackend } from "./docker.ts";
import { startFakeRegistry } from "./fakeRegistry.ts";

const SOCKET = "/var/run/docker.sock";
const IMAGE = "busybox:latest";
const engine = new Docker({ socketPath: SOCKET });
const missing = await whatIsMissing();
if (missing !== null) console.info(`the tests of the docker backend are skipped: ${missing}`);

const installation = `test-${randomUUID()}`;
const open = (address = ""): Backend => openDockerBackend({ address, installation });
const shell = (text: string, part: Partial<Workload> = {}) =>
  createWorkload(IMAGE, { command: ["sh", "-c", text], ...part });

describe.skipIf(missing !== null)("the docker backend as a backend", () => {
  describeBackend({ open: async () => open(), image: IMAGE, outlives: true, many: 4 });
});

describe.skipIf(missing !== null)("the docker backend", () => {
  let backend: Backend;
  beforeAll(() => {
    backend = open();
  });
  afterAll(async () => {
    const { executionIds } = await backend.list();
    await Promise.all(executionIds.map((executionId) => backend.remove(executionId)));
    await backend.close();
  });

  const run = async (workload: Workload) => {
    const sink = createMemorySink();
    const running = await backend.start(workload, sink);
    const exit = await running.exited;
    await backend.remove(workload.executionId);
    return { exit, stdout: sink.text("stdout"), stderr: sink.text("stderr") };
  };

  test("a container has no rights, no network, and nothing to write on but /tmp", async () => {
    const { stdout } = await run(
      shell(`
        id -u; id -g
        grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
        ls /sys/class/net
        touch /file 2>/dev/null || echo read-only
        touch /tmp/file && echo /tmp is writable
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max`),
    );
    expect(
      stdout
        .replaceAll(/[\t ]+/g, " ")
        .trim()
        .split("\n"),
    ).toEqual([
      "65534",
      "65534",
      "CapPrm: 0000000000000000",
      "CapEff: 0000000000000000",
      "CapBnd: 0000000000000000",
      "NoNewPrivs: 1",
      "Seccomp: 2",
      "lo",
      "read-only",
      "/tmp is writable",
      String(512 * 1024 * 1024),
    ]);
  });

  test("a network is there when asked for", async () => {
    const { stdout } = await run(shell("ls /sys/class/net", { network: "BRIDGE" }));
    expect(stdout.split("\n")).toContain("eth0");
  });

  test("a workload that goes over its memory limit is told apart", async () => {
    const { exit } = await run(shell("head -c 60000000 /dev/zero | tail -c 50000000 > /dev/null", { memoryMib: 16 }));
    expect(exit.outOfMemory).toBe(true);
  });

  test("an image that is missing is pulled, once for all who want it; one that is nowhere is not found", async () => {
    const registry = await startFakeRegistry(await engine.getImage(IMAGE).get());
    const image = `${registry.prefix}known:1`;
    const pulled = [1, 2].map((i) => run(createWorkload(image, { command: ["/bin/busybox", "echo", String(i)] })));
    expect((await Promise.all(pulled)).map(({ stdout }) => stdout)).toEqual(["1\n", "2\n"]);
    await engine.getImage(image).remove();

    const unknown = createWorkload(`${registry.prefix}unknown:1`, { command: ["true"] });
    const refused = backend.start(unknown, createMemorySink());
    await expect(refused).rejects.toMatchObject({ name: "StartRefused", reason: "IMAGE_NOT_FOUND" });
    registry.close();
  });

  test("an image whose registry cannot be reached cannot be pulled, and the message names no other place", async () => {
    const refused = backend.start(
      createWorkload("127.0.0.1:1/some/thing:1", { command: ["true"] }),
      createMemorySink(),
    );
    await expect(refused).rejects.toMatchObject({
      name: "StartRefused",
      reason: "IMAGE_PULL_FAILED",
      message: "the image 127.0.0.1:1/some/thing:1 cannot be pulled: the registry cannot be reached",
    });
  });

  test("what is no image name is not found", async () => {
    const refused = backend.start(createWorkload("Not An Image", { command: ["true"] }), createMemorySink());
    await expect(refused).rejects.toMatchObject({ name: "StartRefused", reason: "IMAGE_NOT_FOUND" });
  });

  test("a request that the engine finds wrong is refused, and leaves nothing behind", async () => {
    const workload = shell("true", { memoryMib: 1 });
    const refused = backend.start(workload, createMemorySink());
    await expect(refused).rejects.toMatchObject({ name: "StartRefused", reason: "START_FAILED" });
    expect((await backend.list()).executionIds).not.toContain(workload.executionId);
  });

  test("a container that was created and not started is started by the repeated start", async () => {
    const workload = shell("echo started");
    await engine.createContainer({ name: objectName(workload.executionId), Image: IMAGE, Cmd: ["echo", "started"] });
    const { exit, stdout } = await run(workload);
    expect([exit.exitCode, stdout]).toEqual([0, "started\n"]);
  });

  test("a container that has exited is collected by another backend's start, and does not run again", async () => {
    const workload = shell("echo ran; exit 5");
    await (await backend.start(workload, createMemorySink())).exited;
    const other = open();
    const sink = createMemorySink();
    const exit = await (await other.start(workload, sink)).exited;
    expect([exit.exitCode, sink.text("stdout")]).toEqual([5, "ran\n"]);
    await other.close();
  });

  test("a container that is removed by force is lost, also when its end is seen before it is gone", async () => {
    const workload = shell("sleep 60");
    const { exited } = await backend.start(workload, createMemorySink());
    const container = engine.getContainer(objectName(workload.executionId));
    const lost = expect(exited).rejects.toBeInstanceOf(BackendLost);
    await container.kill(); // the two things that a removal by force does
    await container.remove();
    await lost;
  });

  test("a container that went while nobody could look is lost", async () => {
    const proxy = await startProxy();
    const distant = open(`tcp://127.0.0.1:${proxy.port}`);
    const workload = shell("sleep 1000");
    const running = await distant.start(workload, createMemorySink());
    proxy.cut();
    await backend.remove(workload.executionId);
    proxy.mend();
    await expect(running.exited).rejects.toBeInstanceOf(BackendLost);
    await distant.close();
    proxy.cut();
  });

  test("the end that a connection died without telling is found by looking again", async () => {
    const proxy = await startProxy();
    const distant = open(`tcp://127.0.0.1:${proxy.port}`);
    const [sink, workload] = [createMemorySink(), shell("echo first; sleep 1; echo last; exit 7")];
    const [silent, removed] = [shell("sleep 1000"), shell("sleep 1000")];
    const gone = await distant.start(removed, createMemorySink());
    await distant.start(silent, createMemorySink());
    const running = await distant.start(workload, sink); // last, because it does not wait
    await eventually(() => expect(sink.text("stdout")).toBe("first\n"));
    proxy.freeze();
    await backend.remove(removed.executionId);
    await eventually(async () => {
      const { State } = await engine.getContainer(objectName(workload.executionId)).inspect();
      expect(State.Running).toBe(false);
    });
    const lost = expect(gone.exited).rejects.toBeInstanceOf(BackendLost);
    const lookAgain = async () => (await distant.list()).lookAgain?.();
    expect(await lookAgain()).toEqual([]); // what it has not told yet may be on its way
    expect(await lookAgain()).toEqual([removed.executionId, workload.executionId]);
    expect((await running.exited).exitCode).toBe(7);
    expect(sink.text("stdout")).toBe("first\nlast\n");
    await lost;
    expect(await lookAgain()).toEqual([]);
    for (const { executionId } of [workload, silent]) await distant.remove(executionId);
    await distant.close();
    proxy.cut();
  });

  test("another installation's containers are not listed", async () => {
    const workload = shell("true");
    await (await backend.start(workload, createMemorySink())).exited;
    const stranger = openDockerBackend({ address: "", installation: "another" });
    expect((await stranger.list()).executionIds).not.toContain(workload.executionId);
    await stranger.close();
  });

  test("an engine that is not there is unavailable, told in a few words", async () => {
    const nowhere = open("tcp://127.0.0.1:1");
    const message = "the Docker engine does not answer (ECONNREFUSED)";
    const { signal } = new AbortController();
    await expect(nowhere.probe(signal)).rejects.toEqual(new BackendUnavailable(message));
    await expect(nowhere.start(shell("true"), createMemorySink())).rejects.toEqual(new BackendUnavailable(message));
    await nowhere.close();
  });

  test("while its engine cannot be reached a container runs on, and then no byte is missing or told twice", async () => {
    const proxy = await startProxy();
    const distant = open(`tcp://127.0.0.1:${proxy.port}`);
    const workload = shell("trap 'seq 101 200; exit 3' TERM; seq 1 100; while :; do sleep 0.05; done");
    const sink = createMemorySink();
    const running = await distant.start(workload, sink);
    await eventually(() => expect(sink.text("stdout")).toMatch(/\n100\n$/));
    proxy.cut();
    await expect(distant.probe(new AbortController().signal)).rejects.toBeInstanceOf(BackendUnavailable);
    const stopped = running.stop(30_000);
    proxy.mend();
    await stopped;
    expect((await running.exited).exitCode).toBe(3);
    expect(sink.text("stdout")).toBe(Array.from({ length: 200 }, (_, i) => `${i + 1}\n`).join(""));
    await distant.remove(workload.executionId);
    await distant.close();
    proxy.cut();
  });
});

async function whatIsMissing(): Promise<string | null> {
  try {
    await engine.getImage(IMAGE).inspect();
    return null;
  } catch (error) {
    const isAnswer = (error as { statusCode?: number }).statusCode !== undefined;
    return isAnswer ? `the engine has no image ${IMAGE} (.ci/run makes one)` : "no Docker engine is reachable";
  }
}

/** Stands before the engine's socket and can be cut and mended. */
async function startProxy() {
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(SOCKET);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => open.delete(from));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      isCut = true;
      for (const socket of open) socket.destroy();
      server.unref();
    },
    mend: () => {
      isCut = false;
    },
    /** What is connected stays so and hears no more; new connections go through. */
    freeze: () => {
      for (const socket of open) socket.unpipe().pause();
    },
  };
}
