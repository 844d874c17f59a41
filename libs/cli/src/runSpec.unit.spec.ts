import { expect, test } from "vitest";
import { runSpec } from "./runSpec.ts";

const noInput = Buffer.alloc(0);

test("options become the fields of one step", () => {
  const spec = runSpec(
    ["sh", "-c", "echo $A"],
    {
      image: "busybox",
      env: { A: "1" },
      cpu: 500,
      memory: 128,
      provider: "docker-1",
      network: "bridge",
      timeout: { seconds: 30, nanos: 0 },
      runTimeout: { seconds: 5, nanos: 0 },
      retries: 2,
      label: { team: "red" },
      workdir: "/tmp",
    },
    Buffer.from("in"),
  );
  expect(spec).toMatchObject({ name: "sh", labels: { team: "red" }, timeout: { seconds: 30 }, source: "capstan run" });
  expect(spec.steps).toHaveLength(1);
  expect(spec.steps[0]).toMatchObject({
    command: ["sh", "-c", "echo $A"],
    image: "busybox",
    env: { A: "1" },
    resources: { cpuMillis: 500, memoryMib: 128, slots: 0 },
    placement: { provider: "docker-1", kind: "" },
    network: "NETWORK_BRIDGE",
    retry: { maxAttempts: 3 },
    runTimeout: { seconds: 5 },
    workingDirectory: "/tmp",
    stdin: Buffer.from("in"),
  });
});

test("what is not given is left to the platform", () => {
  expect(runSpec(["true"], {}, noInput).steps[0]).toMatchObject({
    image: "",
    resources: undefined,
    placement: undefined,
    retry: undefined,
    runTimeout: undefined,
    network: "NETWORK_UNSPECIFIED",
  });
});

test.each([
  [["/usr/bin/env"], undefined, "env"],
  [["ls"], "busybox", "ls"],
  [[], "registry:5000/team/tool:1.2", "tool"],
  [[], "tool@sha256:abc", "tool"],
  [["\u001b"], undefined, "\\u001b"],
  [["a".repeat(500)], undefined, "a".repeat(128)],
])("the name of %j in %s is %s", (command, image, name) => {
  expect(runSpec(command, image === undefined ? {} : { image }, noInput).name).toBe(name);
});

test("a handler goes with its input instead of a command, and gives the job its name", () => {
  const spec = runSpec([], { handler: "resize", input: { width: 7 }, provider: "images" }, noInput);
  expect(spec.name).toBe("resize");
  expect(spec.steps[0]).toMatchObject({
    handler: "resize",
    input: { width: 7 },
    command: [],
    placement: { provider: "images" },
    resources: undefined,
  });
  expect(runSpec([], { handler: "resize", name: "mine" }, noInput)).toMatchObject({
    name: "mine",
    steps: [{ input: undefined }],
  });
  expect(() => runSpec(["true"], { input: 7 }, noInput)).toThrow("--input is for a handler; give --handler too");
});

test("nothing to run is refused", () => {
  expect(() => runSpec([], {}, noInput)).toThrow("give a command to run");
});
