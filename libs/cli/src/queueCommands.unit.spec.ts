import { QueueSettings } from "@capstan/proto/capstan/orchestrator/v1/queue.ts";
import { expect, test } from "vitest";
import { changeSettings } from "./queueCommands.ts";

const minute = { seconds: 60, nanos: 0 };
const settings = QueueSettings.fromPartial({
  weight: 3,
  maxRunning: 5,
  rate: { count: 1, period: minute },
  ageing: minute,
});

test("what is not given stays", () => {
  expect(changeSettings(settings, {})).toEqual(settings);
  expect(changeSettings(settings, { maxRunning: 0, keyPolicy: "drop-newest" })).toEqual({
    ...settings,
    maxRunning: 0,
    keyPolicy: "KEY_POLICY_DROP_NEWEST",
  });
});

test("a rate is replaced, or taken away", () => {
  expect(changeSettings(settings, { rate: "none" }).rate).toBeUndefined();
  expect(changeSettings(settings, { ratePerKey: { count: 2, period: minute } })).toMatchObject({
    rate: { count: 1 },
    ratePerKey: { count: 2 },
  });
});
