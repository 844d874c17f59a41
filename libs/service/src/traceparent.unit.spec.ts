import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { expect, test } from "vitest";
import { traceparentPropagator } from "./traceparent.ts";

const getter = { get: (carrier: Record<string, string>, key: string) => carrier[key], keys: Object.keys };
const setter = {
  set(carrier: Record<string, string>, key: string, text: string) {
    carrier[key] = text;
  },
};

function passOn(traceparent: string): Record<string, string> {
  const carrier = {};
  traceparentPropagator.inject(traceparentPropagator.extract(ROOT_CONTEXT, { traceparent }, getter), carrier, setter);
  return carrier;
}

test("a trace is passed on, sampled or not", () => {
  const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  expect(passOn(sampled)).toEqual({ traceparent: sampled });
  const unsampled = sampled.replace(/01$/, "00");
  expect(passOn(unsampled)).toEqual({ traceparent: unsampled });
});

test.each([
  "",
  "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
  "00-00000000000000000000000000000000-b7ad6b7169203331-01",
  "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx: y",
])("%j is no trace", (text) => {
  expect(
    trace.getSpanContext(traceparentPropagator.extract(ROOT_CONTEXT, { traceparent: text }, getter)),
  ).toBeUndefined();
  expect(passOn(text)).toEqual({});
});
