/**
 * What a queue is and what an operator may say of it. No clock, no ids, no I/O. What it lets through is decided in shareTurns.ts.
 *
 *   (nobody has set it) ──set, pause──▶ OPEN ◀──pause, resume──▶ PAUSED ──delete, if empty──▶ (nobody has set it)
 *
 * A queue that nobody has set works all the same, with `defaultSettings`.
 */
import { DomainError, type FieldViolation } from "@capstan/errors";

export const keyPolicies = ["WAIT", "DROP_NEWEST", "CANCEL_RUNNING"] as const;
export type KeyPolicy = (typeof keyPolicies)[number];

const waitActions = ["NOTIFY", "FAIL", "MOVE"] as const;
export type WaitAction = (typeof waitActions)[number];

/** At most `count` in any period. */
export interface RateLimit {
  readonly count: number;
  readonly periodMs: number;
}

/** What is done about an attempt that waits for `reason` (null: for whatever it is) this long after its step became READY. */
export interface WaitRule {
  readonly reason: string | null;
  readonly afterMs: number;
  readonly action: WaitAction;
  /** Of a MOVE: the kind of provider that is asked from then on; "" otherwise. */
  readonly providerKind: string;
}

/** Limits of 0, and rates of null, are none. */
export interface QueueSettings {
  readonly weight: number;
  readonly maxRunning: number;
  readonly maxRunningPerKey: number;
  readonly keyPolicy: KeyPolicy;
  readonly rate: RateLimit | null;
  readonly ratePerKey: RateLimit | null;
  readonly maxDepth: number;
  readonly ageingMs: number;
  readonly onWait: readonly WaitRule[];
}

export interface Queue {
  /** Of its facts; "" if nobody has set it. */
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly settings: QueueSettings;
  /** Since when it is paused; null if it is not. */
  readonly pauseTime: Date | null;
  readonly pauseMessage: string;
  /** The etag; 0 if nobody has set it. */
  readonly version: number;
  /** The number of its last fact. */
  readonly sequence: number;
  readonly createTime: Date | null;
  readonly updateTime: Date | null;
}

export const defaultSettings: QueueSettings = {
  weight: 1,
  maxRunning: 0,
  maxRunningPerKey: 0,
  keyPolicy: "WAIT",
  rate: null,
  ratePerKey: null,
  maxDepth: 0,
  ageingMs: 60_000,
  onWait: [],
};

/** The queue that a name is while nobody has set it. */
export function unsetQueue(tenant: string, name: string): Queue {
  return {
    ...{ id: "", tenant, name, settings: defaultSettings, pauseTime: null, pauseMessage: "" },
    ...{ version: 0, sequence: 0, createTime: null, updateTime: null },
  };
}

/** Whether a limit may hold something of it back, so that what runs of it has to be counted. */
export function isLimited({ settings }: Queue): boolean {
  const { maxRunning, maxRunningPerKey, rate, ratePerKey } = settings;
  return maxRunning > 0 || maxRunningPerKey > 0 || rate !== null || ratePerKey !== null;
}

/** Whether what comes to it may be placed at once, if nothing waits. */
export function isOpen(queue: Queue): boolean {
  return queue.pauseTime === null && !isLimited(queue);
}

/** What became READY within this share of the ageing counts as equal: of equals the earliest deadline goes first, then the oldest. */
const sharesOfAgeing = 4;

/**
 * The place of an attempt in its list: the lower goes first. It is a time that never changes, so that an index can hold it: a job that
 * is one point more urgent stands where one would that has waited for `ageingMs` longer, for as long as both wait.
 */
export function orderTimeOf({ ageingMs }: QueueSettings, readyTime: Date, priority: number): Date {
  const grain = Math.max(1, ageingMs / sharesOfAgeing);
  return new Date(Math.floor(readyTime.getTime() / grain) * grain - priority * ageingMs);
}

export type QueueEvent =
  | { readonly type: "created" | "updated"; readonly settings: QueueSettings }
  | { readonly type: "paused"; readonly message: string }
  | { readonly type: "resumed" }
  | { readonly type: "deleted" };

/** Null if it is already so. Refuses an etag that is not the queue's. */
export function set(queue: Queue, settings: QueueSettings, etag: string): QueueEvent | null {
  checkEtag(queue, etag);
  if (queue.version === 0) return { type: "created", settings };
  return JSON.stringify(queue.settings) === JSON.stringify(settings) ? null : { type: "updated", settings };
}

/** Null if it is paused with the same message. */
export function pause(queue: Queue, message: string): QueueEvent | null {
  return queue.pauseTime !== null && queue.pauseMessage === message ? null : { type: "paused", message };
}

/** Null if it is not paused. */
export function resume(queue: Queue): QueueEvent | null {
  return queue.pauseTime === null ? null : { type: "resumed" };
}

/** Refuses a queue that is in use: its jobs would go on without its limits. */
export function remove(
  queue: Queue,
  inUse: { readonly waiting: number; readonly running: number },
  etag: string,
): QueueEvent {
  checkEtag(queue, etag);
  const { waiting, running } = inUse;
  if (waiting + running === 0) return { type: "deleted" };
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "QUEUE_IN_USE",
    message: `queue ${queue.name} has ${waiting} waiting and ${running} running; only an empty one can be deleted`,
    metadata: { queue: queue.name, waiting: String(waiting), running: String(running) },
  });
}

function checkEtag({ name, version }: Queue, etag: string): void {
  if (etag === "" || etag === String(version)) return;
  throw new DomainError({
    code: "ABORTED",
    reason: "QUEUE_CHANGED",
    message: `queue ${name} has changed since it was read`,
    metadata: { queue: name, etag: version === 0 ? "" : String(version) },
  });
}

export function apply(queue: Queue, event: QueueEvent, now: Date): Queue {
  const moved = { ...queue, version: queue.version + 1, sequence: queue.sequence + 1, updateTime: now };
  switch (event.type) {
    case "created":
      return { ...moved, settings: event.settings, createTime: now };
    case "updated":
      return { ...moved, settings: event.settings };
    case "paused":
      return { ...moved, pauseTime: queue.pauseTime ?? now, pauseMessage: event.message };
    case "resumed":
      return { ...moved, pauseTime: null, pauseMessage: "" };
    case "deleted":
      return moved;
  }
}

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const kindPattern = /^[a-z]{1,32}$/;
const dayMs = 86_400_000;
const maxCount = 100_000;
const maxRules = 16;
const waitReasons = [
  ...["QUEUE_PAUSED", "QUEUE_LIMIT", "KEY_LIMIT", "RATE_LIMIT"],
  ...["NO_PROVIDER_MATCHES", "NO_CAPACITY", "PROVIDER_UNHEALTHY"],
];

export function isQueueName(text: string): boolean {
  return namePattern.test(text);
}

/** Every bad field of settings; empty if they are good. */
export function checkSettings(settings: QueueSettings, at: string): readonly FieldViolation[] {
  const bad: FieldViolation[] = [];
  const refuseUnless = (isGood: boolean, field: string, description: string) => {
    if (!isGood) bad.push({ field: `${at}.${field}`, description });
  };
  const isWithin = (value: number, min: number, max: number) => Number.isInteger(value) && value >= min && value <= max;
  const { weight, maxRunning, maxRunningPerKey, maxDepth, ageingMs, onWait } = settings;
  refuseUnless(isWithin(weight, 1, 1_000), "weight", "must be 1 to 1,000, or 0 for 1");
  refuseUnless(isWithin(maxRunning, 0, maxCount), "max_running", "must be 0 to 100,000");
  refuseUnless(isWithin(maxRunningPerKey, 0, maxCount), "max_running_per_key", "must be 0 to 100,000");
  refuseUnless(isWithin(maxDepth, 0, 10_000_000), "max_depth", "must be 0 to 10,000,000");
  refuseUnless(ageingMs >= 1_000 && ageingMs <= dayMs, "ageing", "must be 1 s to 1 day");
  for (const [field, rate] of [["rate", settings.rate] as const, ["rate_per_key", settings.ratePerKey] as const]) {
    if (rate === null) continue;
    refuseUnless(isWithin(rate.count, 1, maxCount), `${field}.count`, "must be 1 to 100,000");
    refuseUnless(rate.periodMs >= 1_000 && rate.periodMs <= dayMs, `${field}.period`, "must be 1 s to 1 day");
  }
  refuseUnless(onWait.length <= maxRules, "on_wait", `has ${onWait.length} rules; the limit is ${maxRules}`);
  const told = new Set<string>();
  for (const [index, { reason, afterMs, action, providerKind }] of onWait.entries()) {
    const rule = `on_wait[${index}]`;
    const reasons = `must be one of ${waitReasons.join(", ")}, or absent`;
    refuseUnless(reason === null || waitReasons.includes(reason), `${rule}.reason`, reasons);
    refuseUnless(afterMs >= 1_000 && afterMs <= 30 * dayMs, `${rule}.after`, "must be 1 s to 30 days");
    refuseUnless(waitActions.includes(action), `${rule}.action`, `must be one of ${waitActions.join(", ")}`);
    const wantsKind = "must name a kind of provider with MOVE, and be absent otherwise";
    refuseUnless(
      action === "MOVE" ? kindPattern.test(providerKind) : providerKind === "",
      `${rule}.provider_kind`,
      wantsKind,
    );
    refuseUnless(!told.has(`${reason} ${action}`), rule, "repeats the reason and action of another");
    told.add(`${reason} ${action}`);
  }
  return bad;
}
