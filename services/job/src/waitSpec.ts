/**
 * What a step may say that runs nothing itself: a job of its own, an approval, a signal, a time. Everything about how a program is run
 * has no meaning there and is refused rather than ignored.
 */
import type { Sleep, StepSpec, SubJob } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkDuration, checkEnum, checkLine, checkRange, checkText, durationMs, type Refuse } from "./fieldChecks.ts";
import { handlerName, maxInputBytes, measureJson, notKept } from "./handlerSpec.ts";

const templateName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const maxWait = { minMs: 1_000, maxMs: 366 * 86_400_000 };

type Wait = "sub_job" | "approval" | "signal" | "sleep";

/** What the step is in place of a program; null if it is one. */
export function waitOf({ subJob, approval, signal, sleep }: StepSpec): Wait | null {
  if (subJob !== undefined) return "sub_job";
  if (approval !== undefined) return "approval";
  if (signal !== undefined) return "signal";
  return sleep !== undefined ? "sleep" : null;
}

export function checkWait(step: StepSpec, refuse: Refuse): void {
  const wait = waitOf(step);
  if (wait === null) return;
  checkOnlyOne(step, wait, refuse);
  checkMeaning(step, wait, refuse);
  const { subJob, approval, signal, sleep } = step;
  if (subJob !== undefined) checkSubJob(subJob, refuse);
  if (approval !== undefined) {
    checkDuration(approval.timeout, "approval.timeout", maxWait, refuse);
    checkEnum(approval.onTimeout, "approval.on_timeout", refuse);
  }
  if (signal !== undefined) {
    checkDuration(signal.timeout, "signal.timeout", maxWait, refuse);
    checkEnum(signal.onTimeout, "signal.on_timeout", refuse);
  }
  if (sleep !== undefined) checkSleep(sleep, refuse);
}

function checkOnlyOne(step: StepSpec, wait: Wait, refuse: Refuse): void {
  const given: readonly [field: string, isGiven: boolean][] = [
    ["command", step.command.length > 0],
    ["script", step.script !== undefined],
    ["image", step.image !== ""],
    ["handler", step.handler !== ""],
    ["approval", wait !== "approval" && step.approval !== undefined],
    ["signal", wait !== "signal" && step.signal !== undefined],
    ["sleep", wait !== "sleep" && step.sleep !== undefined],
  ];
  for (const [field, isGiven] of given) if (isGiven) refuse(field, `cannot be given together with ${wait}`);
}

function checkMeaning(step: StepSpec, wait: Wait, refuse: Refuse): void {
  const { resources } = step;
  const isShort = wait !== "sub_job";
  const meaningless: readonly [field: string, isGiven: boolean][] = [
    ["args", step.args.length > 0],
    ["env", Object.keys(step.env).length > 0],
    ["working_directory", step.workingDirectory !== ""],
    ["stdin", step.stdin.length > 0],
    ["network", step.network !== "NETWORK_UNSPECIFIED" && step.network !== "UNRECOGNIZED"],
    ["resources", (resources?.cpuMillis ?? 0) > 0 || (resources?.memoryMib ?? 0) > 0 || (resources?.slots ?? 0) > 1],
    ["placement", step.placement !== undefined],
    ["start_timeout", durationMs(step.startTimeout) > 0],
    ["stop_grace", durationMs(step.stopGrace) > 0],
    ["retry", isShort && step.retry !== undefined],
    ["run_timeout", isShort && durationMs(step.runTimeout) > 0],
  ];
  for (const [field, isGiven] of meaningless) {
    if (isGiven) refuse(field, `cannot be given with ${wait}: it runs no program of its own`);
  }
}

function checkSubJob({ template }: SubJob, refuse: Refuse): void {
  if (template === undefined) return refuse("sub_job.template", "is required");
  if (!templateName.test(template.name)) refuse("sub_job.template.name", `must match ${templateName.source}`);
  checkRange(template.version, "sub_job.template.version", 0, 2_147_483_647, refuse);
}

function checkSleep({ duration, until, expression }: Sleep, refuse: Refuse): void {
  const given = [duration !== undefined, until !== undefined, expression !== ""].filter(Boolean).length;
  if (given !== 1) refuse("sleep", `needs exactly one of duration, until and expression, but has ${given}`);
  checkDuration(duration, "sleep.duration", { minMs: 1, maxMs: maxWait.maxMs }, refuse);
  if (until !== undefined && Number.isNaN(until.getTime())) refuse("sleep.until", "is not a time");
}

/** The fields that may hold expressions, before and after these have been filled in; `isOpen` says of a text that it still does. */
export function checkWaitTexts(
  { subJob, approval, signal }: StepSpec,
  refuse: Refuse,
  isOpen: (text: string) => boolean,
): void {
  if (approval !== undefined) checkText(approval.message, "approval.message", 1_024, refuse);
  if (signal !== undefined) {
    checkLine(signal.name, "signal.name", 4_096, refuse, { required: true });
    if (!isOpen(signal.name) && !handlerName.test(signal.name)) {
      refuse("signal.name", `must match ${handlerName.source}`);
    }
  }
  const bytes = measureJson(subJob?.template?.parameters).bytes;
  if (bytes === Number.POSITIVE_INFINITY) {
    refuse("sub_job.template.parameters", `are ${notKept}`);
  } else if (bytes > maxInputBytes) {
    refuse("sub_job.template.parameters", `are ${bytes} bytes as JSON; the limit is ${maxInputBytes}`);
  }
}
