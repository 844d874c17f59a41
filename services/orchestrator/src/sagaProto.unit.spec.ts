import { CapacityAnswer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { expect, it } from "vitest";
import { placementOf } from "./sagaProto.ts";

it("capacity that is held says where", () => {
  const place = { providerId: "p1", providerName: "local", kind: "PROVIDER_KIND_PROCESS", endpoint: "" } as const;
  const answer = CapacityAnswer.fromPartial({ outcome: { $case: "held", value: { ...place, score: 1 } } });
  expect(placementOf(answer)).toEqual({ type: "held", placed: place });
});

it("want of a place is a reason to wait, a request that its cancel took back is none", () => {
  const refused = (reason: "REASON_NO_CAPACITY" | "REASON_OPERATOR") =>
    CapacityAnswer.fromPartial({ outcome: { $case: "refused", value: { reason, message: "why" } } });
  expect(placementOf(refused("REASON_NO_CAPACITY"))).toMatchObject({ type: "notPlaced", reason: "NO_CAPACITY" });
  expect(placementOf(refused("REASON_OPERATOR"))).toMatchObject({ type: "commandFailed" });
});
