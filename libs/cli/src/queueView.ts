/** Queues as text for people. */
import type { Queue, QueueSettings, RateLimit } from "@capstan/proto/capstan/orchestrator/v1/queue.ts";
import type { QueueView } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { formatAge, formatSpan } from "./durations.ts";
import { enumWord } from "./enumWord.ts";
import { terminalWidth } from "./output.ts";
import { type Cell, formatDetails, formatTable } from "./table.ts";

export function formatDuration(duration: Duration | undefined): string {
  return duration === undefined ? "" : formatSpan(duration.seconds * 1_000 + duration.nanos / 1_000_000);
}

function formatRate(rate: RateLimit | undefined): string {
  return rate === undefined ? "" : `${rate.count} in ${formatDuration(rate.period)}`;
}

/** `0` is no limit. */
function limit(count: number): string {
  return count === 0 ? "" : String(count);
}

function limitsOf(settings: QueueSettings | undefined): readonly (readonly [string, string])[] {
  if (settings === undefined) return [];
  return [
    ["running", limit(settings.maxRunning)],
    ["running per key", limit(settings.maxRunningPerKey)],
    ["rate", formatRate(settings.rate)],
    ["rate per key", formatRate(settings.ratePerKey)],
    ["depth", limit(settings.maxDepth)],
  ];
}

function stateOf(queue: Queue | undefined): Cell {
  return queue?.isPaused === true ? { text: "PAUSED", colour: "yellow" } : { text: "OPEN", colour: "green" };
}

export function formatQueues(queues: readonly QueueView[], now: Date): string {
  const oldest = (time: Date | undefined) => (time === undefined ? "" : formatAge(now.getTime() - time.getTime()));
  return formatTable(
    queues,
    [
      { title: "NAME", cell: ({ queue }) => queue?.name ?? "" },
      { title: "STATE", cell: ({ queue }) => stateOf(queue) },
      { title: "WAITING", cell: ({ stats }) => String(stats?.waiting ?? 0) },
      { title: "RUNNING", cell: ({ stats }) => String(stats?.running ?? 0) },
      { title: "OLDEST", cell: ({ stats }) => oldest(stats?.oldestReadyTime) },
      { title: "DRAIN/S", cell: ({ stats }) => (stats?.drainPerSecond ?? 0).toFixed(1) },
      { title: "WEIGHT", cell: ({ queue }) => String(queue?.settings?.weight ?? 1) },
      {
        title: "LIMITS",
        cell: ({ queue }) =>
          limitsOf(queue?.settings)
            .flatMap(([name, value]) => (value === "" ? [] : [`${name} ${value}`]))
            .join(", "),
      },
    ],
    terminalWidth(),
  );
}

export function formatQueue(queue: Queue): string {
  const { settings } = queue;
  const rules = (settings?.onWait ?? []).map(({ reason, after, action, providerKind }) =>
    [`${enumWord(reason) || "anything"} for ${formatDuration(after)}`, enumWord(action), providerKind]
      .filter(Boolean)
      .join(" → "),
  );
  return formatDetails([
    ["Name", queue.name],
    ["State", stateOf(queue)],
    ["Paused since", queue.pauseTime?.toISOString() ?? ""],
    ["Paused for", queue.pauseMessage],
    ["Weight", String(settings?.weight ?? 1)],
    ...limitsOf(settings).map(([name, value]) => [`Limit of ${name}`, value] as const),
    ["When a key is full", settings?.maxRunningPerKey ? enumWord(settings.keyPolicy) : ""],
    ["A point of priority is worth", formatDuration(settings?.ageing)],
    ...rules.map((rule, index) => [`On waiting ${index + 1}`, rule] as const),
    ["Set", queue.createTime?.toISOString() ?? "never: it works with the settings of a new queue"],
    ["Etag", queue.etag],
  ]);
}
