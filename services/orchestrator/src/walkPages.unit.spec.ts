import { DomainError } from "@capstan/errors";
import { expect, test } from "vitest";
import { walkPages } from "./walkPages.ts";

/** Pages by their tokens, each with its suspects; notes what is looked at and repaired. */
function createList(pages: readonly (readonly [token: string, suspects: readonly string[]])[]) {
  const done: string[] = [];
  const list = new Map(pages);
  const tokens = pages.map(([token]) => token);
  const look = walkPages<null, { readonly id: string }>({
    async find(_, pageToken) {
      done.push(`look at ${pageToken || "first"}`);
      const suspects = (list.get(pageToken) ?? []).map((id) => ({ id }));
      return { suspects, nextPageToken: tokens[tokens.indexOf(pageToken) + 1] ?? "" };
    },
    async repair(_, suspects) {
      done.push(`repair ${suspects.map(({ id }) => id)}`);
      if (suspects.some(({ id }) => id.startsWith("bad"))) throw new Error("cannot be repaired");
    },
  });
  const lookOften = async (times: number) => {
    for (let time = 0; time < times; time += 1) await look(null).catch(() => {});
    return done.splice(0);
  };
  return { list, lookOften };
}

test("what is on the only page counts when the next look finds it again, each time", async () => {
  const { list, lookOften } = createList([["", ["a"]]]);
  expect(await lookOften(1)).toEqual(["look at first"]);
  list.set("", ["a", "b"]);
  expect(await lookOften(1)).toEqual(["look at first", "repair a"]);
  list.set("", ["b"]);
  expect(await lookOften(1)).toEqual(["look at first", "repair b"]);
  list.set("", []);
  expect(await lookOften(2)).toEqual(["look at first", "look at first"]);
});

test("every page has its turn, and one with suspects is looked at twice", async () => {
  const { lookOften } = createList([
    ["", []],
    ["second", ["a", "b"]],
    ["third", []],
  ]);
  expect(await lookOften(5)).toEqual([
    "look at first",
    "look at second",
    "look at second",
    "repair a,b",
    "look at third",
    "look at first",
  ]);
});

test("what can never be repaired keeps no other page waiting", async () => {
  const { lookOften } = createList([
    ["", ["bad"]],
    ["second", ["a"]],
  ]);
  expect(await lookOften(5)).toEqual([
    ...["look at first", "look at first", "repair bad"],
    ...["look at second", "look at second", "repair a"],
    "look at first",
  ]);
});

test("where a token is refused the walk begins anew, and after an outage it goes on", async () => {
  const tokens: string[] = [];
  const failures = ["", "UNAVAILABLE", "INVALID_ARGUMENT", ""];
  const look = walkPages<null, { readonly id: string }>({
    async find(_, pageToken) {
      tokens.push(pageToken);
      const code = failures.shift() as "" | "UNAVAILABLE" | "INVALID_ARGUMENT";
      if (code !== "") throw new DomainError({ code, reason: code, message: "no" });
      return { suspects: [], nextPageToken: "second" };
    },
    async repair() {},
  });
  for (let time = 0; time < 4; time += 1) await look(null).catch(() => {});
  expect(tokens).toEqual(["", "second", "second", ""]);
});
