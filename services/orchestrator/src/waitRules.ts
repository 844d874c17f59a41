/** What a queue wants done about an attempt that waits, as it is at a moment. Pure; followed in followWaitRules.ts. */
import type { WaitRule } from "./queue.ts";

interface DueRules {
  /** Those whose time has come, and whose reason is the one for which it waits now. */
  readonly due: readonly WaitRule[];
  /** Until it is looked at again; null when nothing is left to do. */
  readonly nextMs: number | null;
}

/** A rule whose time has passed while it waited for something else may still come to apply: that is looked at this often. */
const lookAgainMs = 15_000;

/** How a rule is remembered once it was followed. */
export function nameOf({ reason, action }: WaitRule): string {
  return `${reason ?? "ANY"} ${action}`;
}

/** `waitedMs` is since its step became READY; `done` names the rules that were followed. Failing it leaves nothing else to do. */
export function rulesDue(
  rules: readonly WaitRule[],
  { reason, waitedMs, done }: { readonly reason: string; readonly waitedMs: number; readonly done: readonly string[] },
): DueRules {
  const open = rules.filter((rule) => !done.includes(nameOf(rule)));
  const due = open.filter((rule) => rule.afterMs <= waitedMs && (rule.reason === null || rule.reason === reason));
  const fail = due.find(({ action }) => action === "FAIL");
  if (fail !== undefined) return { due: [...due.filter(({ action }) => action === "NOTIFY"), fail], nextMs: null };
  const left = open.filter((rule) => !due.includes(rule));
  const waits = left.map(({ afterMs }) => (afterMs > waitedMs ? afterMs - waitedMs : lookAgainMs));
  return { due, nextMs: waits.length === 0 ? null : Math.min(...waits) };
}
