import type { StoredFact } from "@capstan/postgres";
import { headers } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { exampleFact } from "../../../test/support/facts.ts";
import { decodeFact, decodeParts, encodeHeaders, readHeaders } from "./cloudEvent.ts";

const delivery = { stream: "CAPSTAN_JOB", streamSequence: 7, deliveries: 1 };

function stored(change: Partial<StoredFact> = {}): StoredFact {
  const fact = exampleFact();
  return {
    ...fact,
    context: "job",
    time: new Date("2026-11-21T02:00:00.123Z"),
    json: JSON.stringify(fact.data),
    ...change,
  };
}

/** The bytes that go over the wire, as pairs. */
function wire(fact: StoredFact): Map<string, string> {
  const encoded = (encodeHeaders(fact) as unknown as { encode(): Uint8Array }).encode();
  const [version, ...lines] = Buffer.from(encoded).toString().split("\r\n");
  expect(version).toBe("NATS/1.0");
  expect(lines.splice(-2)).toEqual(["", ""]);
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
}

test("a fact is a CloudEvent 1.0 in binary mode", () => {
  const fact = stored({ correlationId: "c1", traceparent: "00-a-b-01" });
  expect(Object.fromEntries(wire(fact))).toEqual({
    "ce-specversion": "1.0",
    "ce-id": fact.id,
    "ce-source": "/capstan/job",
    "ce-type": "capstan.job.v1.job.submitted",
    "ce-subject": fact.aggregateId,
    "ce-time": "2026-11-21T02:00:00.123Z",
    "ce-datacontenttype": "application/json",
    "ce-sequence": "1",
    "ce-correlationid": "c1",
    "ce-causationid": "",
    "ce-tenant": "default",
    "ce-traceparent": "00-a-b-01",
    traceparent: "00-a-b-01",
    "Nats-Msg-Id": fact.id,
  });
});

test("what arrives is what was sent", () => {
  const fact = stored({ correlationId: "c1", causationId: "c2", traceparent: "00-a-b-01" });
  const { json, isTerminal, ...same } = fact;
  expect(decodeParts(wire(fact), Buffer.from(json), delivery)).toEqual({
    ...same,
    type: "capstan.job.v1.job.submitted",
    ...delivery,
  });
});

test("a line break in a value from outside does not begin another header", () => {
  const pairs = wire(stored({ correlationId: "x\r\nce-tenant: other", traceparent: "y\nz: 1" }));
  expect(pairs.get("ce-tenant")).toBe("default");
  expect(pairs.get("ce-correlationid")).toBe("x??ce-tenant: other");
  expect(pairs.has("z")).toBe(false);
});

test.each([
  ["no headers", {}, "{}"],
  ["a foreign type", { "ce-type": "com.example.thing" }, "{}"],
  ["no sequence", { "ce-sequence": "" }, "{}"],
  ["a sequence of zero", { "ce-sequence": "0" }, "{}"],
  ["no time", { "ce-time": "soon" }, "{}"],
  ["no json", {}, "{"],
])("a message with %s is no fact", (_, change, data) => {
  const list = headers();
  const pairs = new Map([
    ...(Object.keys(change).length === 0 && data === "{}" ? [] : wire(stored())),
    ...Object.entries(change),
  ]);
  for (const [name, value] of pairs) list.set(name, value);
  expect(() => decodeFact({ headers: list, data: Buffer.from(data) }, delivery)).toThrow();
});

test("a message without headers is read as one with none", () => {
  expect(readHeaders({ data: Buffer.from("{}") }).size).toBe(0);
});

test("headers are read from the bytes before the data, those of this message and not of one before", () => {
  const other = "HMSG a 1 20 22\r\nNATS/1.0\r\nce-id: other\r\n\r\n{}\r\n";
  const mine = "HMSG a 1 20 22\r\nNATS/1.0\r\nce-id: mine\r\nce-time: 10:11\r\nce-id: again\r\n\r\n";
  const bytes = Buffer.from(`${other}${mine}{"a":1}`);
  const data = bytes.subarray(bytes.length - 7);
  expect([...readHeaders({ data })]).toEqual([
    ["ce-id", "mine"],
    ["ce-time", "10:11"],
  ]);
  const without = Buffer.from(`${other}MSG a 1 7\r\n{"a":1}`);
  expect(readHeaders({ data: without.subarray(without.length - 7) }).size).toBe(0);
});
