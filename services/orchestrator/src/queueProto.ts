/** Queues as messages and facts, and the settings of a request as ours. */
import { type Fact, uuidv7 } from "@capstan/postgres";
import { reasonFromJSON } from "@capstan/proto/capstan/job/v1/job.ts";
import {
  keyPolicyFromJSON,
  Queue as QueueMessage,
  type RateLimit as RateMessage,
  type QueueSettings as SettingsMessage,
  waitActionFromJSON,
} from "@capstan/proto/capstan/orchestrator/v1/queue.ts";
import { QueueEvent } from "@capstan/proto/capstan/orchestrator/v1/queue_event.ts";
import type { QueueView } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import {
  defaultSettings,
  type KeyPolicy,
  keyPolicies,
  type Queue,
  type QueueSettings,
  type RateLimit,
  type WaitAction,
} from "./queue.ts";
import type { QueueCounts } from "./queueStore.ts";

export function durationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1_000 + duration.nanos / 1_000_000;
}

export function toDuration(ms: number): Duration {
  return { seconds: Math.floor(ms / 1_000), nanos: Math.round((ms % 1_000) * 1_000_000) };
}

/** With its defaults, and unchecked: see `checkSettings`. Absent settings are those of a new queue. */
export function settingsOf(message: SettingsMessage | undefined): QueueSettings {
  if (message === undefined) return defaultSettings;
  const policy = message.keyPolicy.slice("KEY_POLICY_".length) as KeyPolicy;
  return {
    weight: message.weight || 1,
    maxRunning: message.maxRunning,
    maxRunningPerKey: message.maxRunningPerKey,
    keyPolicy: keyPolicies.includes(policy) ? policy : "WAIT",
    rate: rateOf(message.rate),
    ratePerKey: rateOf(message.ratePerKey),
    maxDepth: message.maxDepth,
    ageingMs: durationMs(message.ageing) || defaultSettings.ageingMs,
    onWait: message.onWait.map(({ reason, after, action, providerKind }) => ({
      reason: reason === "REASON_UNSPECIFIED" ? null : reason.slice("REASON_".length),
      afterMs: durationMs(after),
      action: action.slice("WAIT_ACTION_".length) as WaitAction,
      providerKind,
    })),
  };
}

function rateOf(message: RateMessage | undefined): RateLimit | null {
  return message === undefined ? null : { count: message.count, periodMs: durationMs(message.period) };
}

function rateMessage(rate: RateLimit | null): RateMessage | undefined {
  return rate === null ? undefined : { count: rate.count, period: toDuration(rate.periodMs) };
}

export function queueMessage(queue: Queue): QueueMessage {
  const { settings } = queue;
  return QueueMessage.fromPartial({
    name: queue.name,
    tenant: queue.tenant,
    settings: {
      weight: settings.weight,
      maxRunning: settings.maxRunning,
      maxRunningPerKey: settings.maxRunningPerKey,
      keyPolicy: keyPolicyFromJSON(`KEY_POLICY_${settings.keyPolicy}`),
      rate: rateMessage(settings.rate),
      ratePerKey: rateMessage(settings.ratePerKey),
      maxDepth: settings.maxDepth,
      ageing: toDuration(settings.ageingMs),
      onWait: settings.onWait.map(({ reason, afterMs, action, providerKind }) => ({
        reason: reasonFromJSON(`REASON_${reason ?? "UNSPECIFIED"}`),
        after: toDuration(afterMs),
        action: waitActionFromJSON(`WAIT_ACTION_${action}`),
        providerKind,
      })),
    },
    isPaused: queue.pauseTime !== null,
    pauseMessage: queue.pauseMessage,
    pauseTime: queue.pauseTime ?? undefined,
    etag: queue.version === 0 ? "" : String(queue.version),
    createTime: queue.createTime ?? undefined,
    updateTime: queue.updateTime ?? undefined,
  });
}

export function viewMessage(queue: Queue, counts: QueueCounts | undefined, drainPerSecond: number): QueueView {
  return {
    queue: queueMessage(queue),
    stats: {
      waiting: counts?.waiting ?? 0,
      running: counts?.running ?? 0,
      oldestReadyTime: counts?.oldestReadyTime ?? undefined,
      drainPerSecond,
    },
  };
}

/** The fact of a move; `queue` is as it is afterwards. */
export function queueFact(queue: Queue, event: string, traceparent: string | null): Fact {
  return {
    id: uuidv7(),
    tenant: queue.tenant,
    noun: "queue",
    event,
    aggregateId: queue.id,
    sequence: queue.sequence,
    correlationId: "",
    causationId: "",
    traceparent,
    data: QueueEvent.toJSON({ queue: queueMessage(queue) }) as object,
  };
}
