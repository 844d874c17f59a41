import { Provider } from "@capstan/proto/capstan/provider/v1/provider.ts";
import { expect, test } from "vitest";
import { changeProvider } from "./providerChange.ts";

const current = Provider.fromPartial({
  id: "p1",
  capacity: { slots: 4, cpuMillis: 2_000, memoryMib: 1_024 },
  labels: { zone: "a", gpu: "no" },
  endpoint: "tcp://127.0.0.1:2375",
  etag: "7",
});

test("what is not given stays as it was read, and the change is tied to that reading", () => {
  expect(changeProvider(current, { slots: 8 })).toMatchObject({
    provider: "p1",
    capacity: { slots: 8, cpuMillis: 2_000, memoryMib: 1_024 },
    updateMask: ["capacity"],
    etag: "7",
  });
});

test("labels are set and taken away one by one", () => {
  expect(changeProvider(current, { label: { zone: "b", disk: "ssd" }, removeLabel: ["gpu"] })).toMatchObject({
    labels: { zone: "b", disk: "ssd" },
    updateMask: ["labels"],
  });
});

test("amounts of nothing and an empty endpoint are changes too", () => {
  expect(changeProvider(current, { cpu: 0, endpoint: "" })).toMatchObject({
    capacity: { slots: 4, cpuMillis: 0 },
    endpoint: "",
    updateMask: ["capacity", "endpoint"],
  });
});

test("a change of nothing is refused", () => {
  expect(() => changeProvider(current, {})).toThrow("say what to change");
});
