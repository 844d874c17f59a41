import { describe, expect, test } from "vitest";
import { StartRefused, type Workload } from "./backend.ts";
import { containerRequest } from "./dockerRequest.ts";

const byLetters = (a: string, b: string) => a.localeCompare(b);

function request(part: Partial<Workload> = {}) {
  const workload: Workload = {
    executionId: "5a7e0000-0000-7000-8000-000000000000",
    jobId: "job",
    attempt: 2,
    tenant: "default",
    fence: 3,
    command: ["true"],
    script: null,
    image: "busybox",
    env: {},
    workingDirectory: null,
    stdin: null,
    cpuMillis: 0,
    memoryMib: 0,
    network: "NONE",
    handler: null,
    ...part,
  };
  return containerRequest(workload, "here");
}

describe("a container", () => {
  test("is locked in, whatever its workload says", () => {
    expect(request()).toMatchObject({
      User: "65534:65534",
      HostConfig: {
        NetworkMode: "none",
        Privileged: false,
        CapDrop: ["ALL"],
        SecurityOpt: ["no-new-privileges"],
        ReadonlyRootfs: true,
        Init: true,
        AutoRemove: false,
        IpcMode: "private",
        PidsLimit: 256,
        RestartPolicy: { Name: "no" },
      },
    });
  });

  test("asks the engine for nothing but what is on this list", () => {
    expect(Object.keys(request({ workingDirectory: "/", stdin: Buffer.from("x") })).sort(byLetters)).toEqual(
      "AttachStdin Cmd Entrypoint Env Healthcheck HostConfig Image Labels OpenStdin StdinOnce Tty User WorkingDir".split(
        " ",
      ),
    );
    expect(Object.keys(request().HostConfig ?? {}).sort(byLetters)).toEqual(
      (
        "AutoRemove CapDrop Init IpcMode LogConfig Memory MemorySwap NanoCpus NetworkMode PidsLimit Privileged " +
        "ReadonlyRootfs RestartPolicy SecurityOpt ShmSize Tmpfs Ulimits"
      ).split(" "),
    );
  });

  test("has the memory it was given and no swap, or half a GiB and one core", () => {
    const given = request({ memoryMib: 64, cpuMillis: 250 }).HostConfig;
    expect([given?.Memory, given?.MemorySwap, given?.NanoCpus]).toEqual([64 << 20, 64 << 20, 250_000_000]);
    const usual = request().HostConfig;
    expect([usual?.Memory, usual?.MemorySwap, usual?.NanoCpus]).toEqual([512 << 20, 512 << 20, 1_000_000_000]);
  });

  test("runs its image's own command only when there is no other", () => {
    expect(request({ command: [] })).not.toHaveProperty("Entrypoint");
    expect(request({ command: ["ls", "-l"] })).toMatchObject({ Entrypoint: ["ls", "-l"], Cmd: [] });
  });

  test("gets a script as an argument in the way of its interpreter", () => {
    const argv = (...interpreter: string[]) =>
      request({ command: ["x"], script: { interpreter, content: "…" } }).Entrypoint as string[];
    expect(argv()).toEqual(["/bin/sh", "-c", "…", "script", "x"]);
    expect(argv("/bin/bash", "-eu")).toEqual(["/bin/bash", "-eu", "-c", "…", "script", "x"]);
    expect(argv("python3.12")).toEqual(["python3.12", "-c", "…", "x"]);
    expect(argv("node")).toEqual(["node", "-e", "…", "x"]);
    expect(argv("php8.3")).toEqual(["php8.3", "-r", "…", "--", "x"]);
  });

  test("without an image, or with an argument no kernel takes, is refused", () => {
    expect(() => request({ image: null })).toThrow(StartRefused);
    expect(() => request({ command: ["echo", "x".repeat(200_000)] })).toThrow(/at most 131071 bytes/);
  });
});
