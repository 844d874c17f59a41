import { expect, test } from "vitest";
import { checkChange, checkRegistration } from "./providerSpec.ts";

const good: Parameters<typeof checkRegistration>[1] = {
  kind: "DOCKER",
  capacity: { slots: 4, cpuMillis: 0, memoryMib: 0 },
  labels: { zone: "a" },
  endpoint: "unix:///var/run/docker.sock",
};
const fieldsOf = (name: string, spec: Partial<typeof good>) =>
  checkRegistration(name, { ...good, ...spec }).map(({ field }) => field);

test("a good registration has no bad fields", () => {
  expect(checkRegistration("docker-1", good)).toEqual([]);
  for (const endpoint of ["", "tcp://127.0.0.1:2375", "tcp://[::1]:2375", "tcp://engine.internal:1"]) {
    expect(fieldsOf("docker-1", { endpoint }), endpoint).toEqual([]);
  }
});

test("all bad fields are told at once", () => {
  const spec = {
    kind: null,
    capacity: { slots: 0, cpuMillis: -1, memoryMib: -1 },
    labels: { "": "x" },
    endpoint: "ftp://x",
  };
  expect(fieldsOf("No Such Name", spec)).toEqual([
    "name",
    "kind",
    "capacity.slots",
    "capacity.cpu_millis",
    "capacity.memory_mib",
    'labels[""]',
    "endpoint",
  ]);
  expect(checkRegistration("local", { ...good, capacity: undefined })).toMatchObject([{ field: "capacity" }]);
  expect(fieldsOf("local", { capacity: { slots: 100_001, cpuMillis: 0, memoryMib: 0 } })).toEqual(["capacity.slots"]);
});

test("names that could be read as something else are refused", () => {
  const names = [
    "",
    "-a",
    "a-",
    "A",
    "a.b",
    "a/b",
    "a\u0000",
    "a\n",
    "ä",
    "a".repeat(64),
    "01890000-0000-7000-8000-000000000001",
  ];
  for (const name of names) expect(fieldsOf(name, {}), JSON.stringify(name)).toEqual(["name"]);
});

test("label keys and values of any kind are either good or named", () => {
  const labels = JSON.parse(
    '{"__proto__":"x","constructor":"good","a b":"x","long":"","nul":"\\u0000","esc":"\\u001b[2J"}',
  );
  labels.long = "x".repeat(257);
  expect(fieldsOf("local", { labels })).toEqual([
    'labels["__proto__"]',
    'labels["a b"]',
    'labels["long"]',
    'labels["nul"]',
    'labels["esc"]',
  ]);
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`key${index}`, ""]));
  expect(checkRegistration("local", { ...good, labels: many })).toEqual([
    { field: "labels", description: "has 65 entries; the limit is 64" },
  ]);
});

test("an endpoint is a socket or an address, without credentials, and only of an engine", () => {
  const bad = [
    "unix://relative",
    "unix:///a b",
    "tcp://user:secret@host:1",
    "tcp://host",
    "http://host:1",
    "unix:///a\u0000",
    `unix:///${"a".repeat(256)}`,
  ];
  for (const endpoint of bad)
    expect(fieldsOf("docker-1", { endpoint }), JSON.stringify(endpoint)).toEqual(["endpoint"]);
  expect(fieldsOf("local", { kind: "PROCESS" })).toEqual(["endpoint"]);
});

test("a change is checked like a registration, for what it has", () => {
  expect(checkChange({}, "DOCKER")).toEqual([]);
  expect(checkChange({ endpoint: "x", labels: { "?": "" } }, "DOCKER").map(({ field }) => field)).toEqual([
    'labels["?"]',
    "endpoint",
  ]);
});

test("a worker pool is not registered, and takes no update", () => {
  const registration = checkRegistration("pool", { ...good, kind: "WORKER", endpoint: "" });
  expect(registration).toEqual([
    {
      field: "kind",
      description:
        "must be PROVIDER_KIND_PROCESS or PROVIDER_KIND_DOCKER; a worker pool registers itself with its first worker",
    },
  ]);
  const change = { capacity: { slots: 4, cpuMillis: 0, memoryMib: 0 }, labels: { zone: "a" }, endpoint: "" };
  expect(checkChange(change, "WORKER").map(({ field }) => field)).toEqual(["capacity", "labels", "endpoint"]);
});
