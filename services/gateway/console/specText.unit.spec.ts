import fc from "fast-check";
import { expect, test } from "vitest";
import {
  camelNames,
  fieldInText,
  fileText,
  joinWords,
  keysOf,
  readText,
  requestOf,
  snakeNames,
  splitWords,
  withValue,
} from "./specText.ts";

const text = `# the smallest
name: hello   # and its name
steps:
  - command: [echo, hi]
    run_timeout: 60s
    env: { MY_NAME: x }
`;

test("a field that the platform names is found at its line, in either spelling, or at what holds it", () => {
  const { lineOf } = readText(text);
  expect(lineOf("name")).toBe(2);
  expect(lineOf("steps[0].runTimeout")).toBe(5);
  expect(lineOf("steps[0].command[1]")).toBe(4);
  expect(lineOf("steps[0].retry.max_attempts")).toBe(4);
  expect(lineOf("queue")).toBe(0);
});

test("bad YAML is told with its line and gives no value", () => {
  const { value, problems } = readText("name: a\nsteps: [");
  expect(value).toBeNull();
  expect(problems[0]?.line).toBe(2);
  expect(readText("- a list").problems).toMatchObject([{ message: expect.stringContaining("map of fields") }]);
});

test("fields are sent as the API names them, and what users have named stays as it is", () => {
  const { value } = readText(text);
  expect(requestOf(value ?? {})).toEqual({
    spec: { name: "hello", steps: [{ command: ["echo", "hi"], runTimeout: "60s", env: { MY_NAME: "x" } }] },
  });
  expect(requestOf({ template: { name: "t", parameters: { my_key: 1 } } })).toEqual({
    template: { name: "t", parameters: { my_key: 1 } },
  });
});

test("what a template declares has fields of ours, what it is used with has names of the user", () => {
  expect(camelNames({ parameters: [{ default_value: 1 }] })).toEqual({ parameters: [{ defaultValue: 1 }] });
  expect(camelNames({ parameters: { my_key: 1 } })).toEqual({ parameters: { my_key: 1 } });
});

test("a spec as the API gives it is written as files have it, and read back the same", () => {
  const spec = {
    name: "x",
    steps: [{ dependsOn: ["a"], forEach: { maxParallel: 2, items: [{ keepMe: 1 }] }, env: { keepMe: "y" } }],
  };
  expect(snakeNames(spec)).toEqual({
    name: "x",
    steps: [{ depends_on: ["a"], for_each: { max_parallel: 2, items: [{ keepMe: 1 }] }, env: { keepMe: "y" } }],
  });
  expect(camelNames(snakeNames(spec))).toEqual(spec);
});

test("a spec is written as a person would have, and what a user has said stays also when it is nothing", () => {
  const step = {
    name: "one",
    script: { interpreter: ["sh"], content: "true" },
    image: "",
    resources: { cpuMillis: 0, memoryMib: 0, slots: 1 },
    startTimeout: "300s",
    network: "NETWORK_UNSPECIFIED",
    retry: null,
    env: { EMPTY: "" },
    subJob: { template: { name: "t", parameters: { dryRun: false } } },
    input: 0,
  };
  expect(readText(fileText({ name: "x", priority: 0, labels: {}, input: null, steps: [step] })).value).toEqual({
    name: "x",
    steps: [
      {
        name: "one",
        script: { content: "true" },
        env: { EMPTY: "" },
        sub_job: { template: { name: "t", parameters: { dryRun: false } } },
        input: 0,
      },
    ],
  });
});

test("a field in words of the text has neither the request around it nor another spelling", () => {
  expect(fieldInText("spec.steps[0].runTimeout", false)).toBe("steps[0].run_timeout");
  expect(fieldInText("template.parameters.region", true)).toBe("template.parameters.region");
  expect(keysOf("steps[10].retry")).toEqual(["steps", 10, "retry"]);
});

test("a change of one value leaves the rest of the text, comments too; removing the last of a part removes the part", () => {
  const changed = withValue(text, ["steps", 0, "run_timeout"], "90s");
  expect(changed).toContain("# the smallest");
  expect(changed).toContain("# and its name");
  expect(changed).toContain("run_timeout: 90s");
  const labelled = withValue(text, ["labels", "team"], "red");
  expect(withValue(labelled, ["labels", "team"], undefined)).not.toContain("labels");
  expect(withValue("", ["name"], "first")).toBe("name: first\n");
});

test("words are split as a shell would, and put together again without loss", () => {
  expect(splitWords(`sh -c 'echo "two words"' a\\ b "it's"`)).toEqual(["sh", "-c", 'echo "two words"', "a b", "it's"]);
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      expect(splitWords(joinWords(words))).toEqual(words);
    }),
  );
});
