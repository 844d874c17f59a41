/** Replies to commits are found however the bytes come in pieces. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { findCommitReplies } from "./commitReplies.ts";

function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(4 + Buffer.byteLength(body, "latin1"));
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body, "latin1")]);
}

const row = message("D", "COMMIT INSERT a row that says so ".repeat(10));
const ready = (state: "I" | "T") => message("Z", state);
const complete = (tag: string) => message("C", `${tag}\0`);

const conversations = {
  "a read": { bytes: [row, complete("SELECT 1"), ready("I")], commits: 0 },
  "a write that is a transaction by itself": { bytes: [row, complete("INSERT 0 1"), ready("I")], commits: 1 },
  "a write inside of a transaction": {
    bytes: [complete("BEGIN"), ready("T"), complete("UPDATE 3"), ready("T")],
    commits: 0,
  },
  "a transaction": {
    bytes: [complete("BEGIN"), ready("T"), complete("UPDATE 3"), ready("T"), complete("COMMIT"), ready("I")],
    commits: 1,
  },
} as const;

test.each(Object.entries(conversations))("%s is told apart, in pieces of any size", (_, { bytes, commits }) => {
  const whole = Buffer.concat([...bytes]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: whole.length }), { maxLength: 8 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
      const pieces = at.slice(1).map((end, index) => whole.subarray(at[index], end));
      const replies = findCommitReplies();
      expect(pieces.filter((piece) => replies.read(piece))).toHaveLength(commits);
    }),
  );
});

test("what a server answers to the wish for TLS is no message", () => {
  const replies = findCommitReplies();
  expect(replies.read(Buffer.from("N"))).toBe(false);
  expect(replies.read(Buffer.concat([complete("COMMIT"), ready("I")]))).toBe(true);
});
