/**
 * What one step may say by itself; how steps hang together is in `workflowSpec.ts`. A text with `${{` in it is not known yet: what it
 * must look like is checked when it has been filled in, by the same rules.
 */
import type { Script, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkDuration, checkEnum, checkLine, checkRange, checkText, type Refuse, shownKey } from "./fieldChecks.ts";
import { checkHandler, checkInput } from "./handlerSpec.ts";
import { checkPlacement, checkRetry } from "./stepPolicy.ts";
import { checkWait, checkWaitTexts, waitOf } from "./waitSpec.ts";

const maxStdinBytes = 64 * 1024;
const maxScriptBytes = 128 * 1024;
const day = 86_400_000;

const stepName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const envName = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

/** A text that holds an expression. */
export function isTemplate(text: string): boolean {
  return text.includes("${{");
}

/** `inputSize` as `measureJson` has measured it. */
export function checkStep(step: StepSpec, inputSize: number, refuse: Refuse): void {
  if (step.name !== "" && !stepName.test(step.name)) refuse("name", `must match ${stepName.source}`);
  checkHandler(step, refuse);
  checkProgram(step, refuse);
  checkWait(step, refuse);
  checkTexts(step, inputSize, refuse);
  if (step.script !== undefined) checkScript(step.script, refuse);
  if (step.stdin.length > maxStdinBytes)
    refuse("stdin", `is ${step.stdin.length} bytes; the limit is ${maxStdinBytes}`);
  checkRange(step.resources?.cpuMillis ?? 0, "resources.cpu_millis", 0, 1_024_000, refuse);
  checkRange(step.resources?.memoryMib ?? 0, "resources.memory_mib", 0, 16_777_216, refuse);
  checkRange(step.resources?.slots ?? 0, "resources.slots", 0, 1_000, refuse);
  checkDuration(step.startTimeout, "start_timeout", { minMs: 1_000, maxMs: day }, refuse);
  checkDuration(step.runTimeout, "run_timeout", { minMs: 1, maxMs: 30 * day }, refuse);
  checkDuration(step.stopGrace, "stop_grace", { minMs: 1, maxMs: 600_000 }, refuse);
  checkEnum(step.network, "network", refuse);
  if (step.placement !== undefined) checkPlacement(step.placement, refuse);
  if (step.retry !== undefined) checkRetry(step.retry, refuse);
}

function checkProgram(step: StepSpec, refuse: Refuse): void {
  const { command, script, image, handler } = step;
  if (command.length === 0 && script === undefined && image === "" && handler === "" && waitOf(step) === null) {
    refuse(
      "command",
      "is empty; give a command, a script, an image, a handler, a sub_job, an approval, a signal or a sleep",
    );
  }
  if (command.length > 0 && script !== undefined) refuse("script", "cannot be given together with command");
}

/** The fields that may hold expressions, before and after these have been filled in. */
export function checkTexts(step: StepSpec, inputSize: number, refuse: Refuse, { isFilledIn = false } = {}): void {
  const isOpen = (text: string) => !isFilledIn && isTemplate(text);
  const { command, args, env, image, workingDirectory } = step;
  if (command[0] === "") refuse("command[0]", "is empty; it names the program");
  if (command.length + args.length > 1_024) refuse("args", "has more than 1,024 arguments with command");
  for (const [index, argument] of command.entries()) checkText(argument, `command[${index}]`, 131_072, refuse);
  for (const [index, argument] of args.entries()) checkText(argument, `args[${index}]`, 131_072, refuse);
  checkEnv(env, refuse);
  if (workingDirectory !== "" && !workingDirectory.startsWith("/") && !isOpen(workingDirectory)) {
    refuse("working_directory", "must be an absolute path");
  }
  checkText(workingDirectory, "working_directory", 4_096, refuse);
  checkLine(image, "image", isOpen(image) ? 4_096 : 512, refuse);
  if (/\s/.test(image) && !isOpen(image)) refuse("image", "must not contain white space");
  checkInput(step, inputSize, refuse);
  checkWaitTexts(step, refuse, isOpen);
}

function checkScript({ content, interpreter }: Script, refuse: Refuse): void {
  if (content === "") refuse("script.content", "is empty");
  if (isTemplate(content)) {
    refuse("script.content", "cannot hold ${{ … }}: give the value by env, and read it there as a variable");
  }
  checkText(content, "script.content", maxScriptBytes, refuse);
  if (interpreter.length > 16) refuse("script.interpreter", "has more than 16 parts");
  for (const [index, part] of interpreter.entries()) {
    checkText(part, `script.interpreter[${index}]`, 4_096, refuse, { required: true });
  }
}

function checkEnv(env: Readonly<Record<string, string>>, refuse: Refuse): void {
  const entries = Object.entries(env);
  if (entries.length > 256) return refuse("env", `has ${entries.length} variables; the limit is 256`);
  for (const [name, value] of entries) {
    if (!envName.test(name)) refuse(`env[${shownKey(name)}]`, `names must match ${envName.source}`);
    else if (name.startsWith("CAPSTAN_")) refuse(`env[${name}]`, "names that begin with CAPSTAN_ are reserved");
    checkText(value, `env[${shownKey(name)}]`, 131_072, refuse);
  }
}
