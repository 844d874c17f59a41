import { expect, test } from "vitest";
import { suggest } from "./suggestion.ts";

const fields = ["name", "command", "args", "image", "env", "run_timeout", "start_timeout", "network"];

test.each([
  ["comand", "command"],
  ["cmd", "command"],
  ["enviroment", null],
  ["imgae", "image"],
  ["RunTimeout", "run_timeout"],
  ["run-timeout", "run_timeout"],
  ["startTimout", "start_timeout"],
  ["volumes", null],
  ["x", null],
  ["", null],
  ["a".repeat(100_000), null],
])("%s may have meant %s", (written, meant) => {
  expect(suggest(written, fields)).toBe(meant);
});
