import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { expect, test } from "vitest";
import { batchesOf } from "./submitCommand.ts";

const request = (bytes: number) => SubmitJobRequest.fromPartial({ spec: { name: "x".repeat(bytes) } });

test("a batch has at most 1,000 jobs and fits into one call, and the order stays", () => {
  const many = Array.from({ length: 2_500 }, (_, index) => ({ ...request(1), requestId: String(index) }));
  expect(batchesOf(many).map((batch) => batch.length)).toEqual([1_000, 1_000, 500]);
  expect(batchesOf(many).flat()).toEqual(many);
  expect(batchesOf(Array.from({ length: 30 }, () => request(250_000))).map((batch) => batch.length)).toEqual([
    13, 13, 4,
  ]);
});

test("one job over the limit is still sent, for the platform to refuse", () => {
  expect(batchesOf([request(5_000_000), request(1)])).toHaveLength(2);
});
