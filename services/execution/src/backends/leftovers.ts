/**
 * Which processes an ended execution has left behind: decided from a picture of the process table, without touching it.
 *
 * A child that called setsid or double-forked is in nobody's group, so whose it is follows, in this order, from its group or
 * session, its parent, the marks it inherited, and (only in a pid namespace of our own, where all others are ours) its age.
 */

import type { Mark, ProcessEntry } from "./processTable.ts";

/** An execution's first process, whose pid is its group's and session's id too. */
export interface Main {
  readonly pid: number;
  readonly executionId: string;
  /** Not later than its true start, in the process table's ticks. */
  readonly startTicks: number;
  readonly hasEnded: boolean;
}

export interface Scene {
  readonly processes: readonly ProcessEntry[];
  /** Executions that live, or ended and are not yet cleared. */
  readonly mains: readonly Main[];
  /** Processes that are no execution's: ourselves. */
  readonly bystanders: ReadonlySet<number>;
  /** True when every process in the picture, but for the bystanders, was started by an execution. */
  readonly isContained: boolean;
  readonly readMark: (pid: number) => Mark | null;
  /** True when processes with this runner's mark are ours to judge. */
  readonly isOurs: (runner: string) => boolean;
}

type Owner = { readonly executionId: string; readonly hasEnded: boolean } | null;

/** Living processes of executions that are over: pid to execution id. */
export function findLeftovers(scene: Scene): ReadonlyMap<number, string> {
  const ownerOf = owners(scene);
  const found = new Map<number, string>();
  for (const entry of scene.processes) {
    if (entry.isDead || scene.bystanders.has(entry.pid)) continue;
    const owner = ownerOf(entry);
    if (owner?.hasEnded) found.set(entry.pid, owner.executionId);
  }
  return found;
}

function owners(scene: Scene): (entry: ProcessEntry) => Owner {
  const byPid = new Map(scene.processes.map((entry) => [entry.pid, entry]));
  const mains = new Map(scene.mains.map((main) => [main.pid, main]));
  const byExecution = new Map(scene.mains.map((main) => [main.executionId, main]));
  const known = new Map<number, Owner>();

  const marked = ({ pid }: ProcessEntry): Owner => {
    const mark = scene.readMark(pid);
    if (mark === null || !scene.isOurs(mark.runner)) return null;
    return byExecution.get(mark.executionId) ?? { executionId: mark.executionId, hasEnded: true };
  };
  // A process that hides its marks goes when every execution that was there at its birth is over.
  const nameless = (entry: ProcessEntry): Owner => ({
    executionId: "",
    hasEnded: !scene.mains.some((main) => !main.hasEnded && main.startTicks <= entry.startTicks),
  });
  const ownerOf = (entry: ProcessEntry): Owner => {
    if (scene.bystanders.has(entry.pid)) return null;
    const before = known.get(entry.pid);
    if (before !== undefined) return before;
    known.set(entry.pid, null); // the picture is not taken in one instant, so a parent may seem to be its child's child
    const parent = byPid.get(entry.parent);
    const owner =
      mains.get(entry.group) ??
      mains.get(entry.session) ??
      (parent === undefined ? null : ownerOf(parent)) ??
      marked(entry) ??
      (scene.isContained ? nameless(entry) : null);
    known.set(entry.pid, owner);
    return owner;
  };
  return ownerOf;
}
