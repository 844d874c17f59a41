import type { Command } from "commander";
import { expect, test } from "vitest";
import { bashCompletion } from "./completionCommand.ts";
import { createProgram } from "./program.ts";

function leaves(command: Command, path: readonly string[] = []): readonly (readonly [string, Command])[] {
  if (command.commands.length === 0) return [[path.join(" "), command]];
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
}

const commands = leaves(createProgram());

test.each(commands)("%s says what it does, and so do its options", (_, command) => {
  expect(command.description()).toMatch(/\S/);
  for (const option of command.options) expect(option.description).toMatch(/\S/);
});

test("no two options of a command share a flag", () => {
  for (const [, command] of commands) {
    const flags = command.options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined);
    expect(new Set(flags).size).toBe(flags.length);
  }
});

test("completion knows every command", () => {
  const script = bashCompletion(createProgram());
  for (const [path] of commands) expect(script).toContain(`"${path}")`);
});
