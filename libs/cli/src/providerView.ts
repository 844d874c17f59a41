/** Providers as tables for people. */
import type { Capacity, Provider } from "@capstan/proto/capstan/provider/v1/provider.ts";
import type { GetProviderStatsResponse } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { formatAge } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { terminalWidth } from "./output.ts";
import { formatCpu, formatMemory } from "./quantities.ts";
import { type Column, formatDetails, formatPairs, formatTable } from "./table.ts";
import { formatGroups, handlersOf, workersOf } from "./workerView.ts";

/** `2/8`; only what is counted has a limit. */
function usage(reserved: string, capacity: string): string {
  return capacity === "-" ? "-" : `${reserved === "-" ? "0" : reserved}/${capacity}`;
}

interface Holding {
  readonly capacity: Capacity | undefined;
  readonly reserved: Capacity | undefined;
}

const slots = ({ capacity, reserved }: Holding) => usage(String(reserved?.slots ?? 0), String(capacity?.slots ?? 0));
const cpu = ({ capacity, reserved }: Holding) =>
  usage(formatCpu(reserved?.cpuMillis ?? 0), formatCpu(capacity?.cpuMillis ?? 0));
const memory = ({ capacity, reserved }: Holding) =>
  usage(formatMemory(reserved?.memoryMib ?? 0), formatMemory(capacity?.memoryMib ?? 0));

/** What only worker pools have; not shown where there is none. */
const poolColumns: readonly Column<Provider>[] = [
  { title: "WORKERS", cell: ({ kind, workerGroups }) => (isPool(kind) ? String(workersOf(workerGroups)) : "-") },
  { title: "HANDLERS", cell: ({ workerGroups }) => handlersOf(workerGroups) },
];

function isPool(kind: Provider["kind"]): boolean {
  return kind === "PROVIDER_KIND_WORKER";
}

export function formatProviders(providers: readonly Provider[], now: Date): string {
  return formatTable(
    providers,
    [
      { title: "NAME", cell: ({ name }) => name },
      { title: "KIND", cell: ({ kind }) => enumWord(kind) },
      { title: "STATE", cell: ({ state }) => enumCell(state) },
      { title: "HEALTH", cell: ({ health }) => enumCell(health) },
      { title: "SLOTS", cell: slots },
      { title: "CPU", cell: cpu },
      { title: "MEMORY", cell: memory },
      { title: "AGE", cell: ({ createTime }) => formatAge(now.getTime() - (createTime ?? now).getTime()) },
      { title: "LABELS", cell: ({ labels }) => formatPairs(labels) },
      ...(providers.some(({ kind }) => isPool(kind)) ? poolColumns : []),
    ],
    terminalWidth(),
  );
}

export function formatProvider(provider: Provider, now: Date): string {
  const { healthTime, workerGroups } = provider;
  const details = formatDetails([
    ["Id", provider.id],
    ["Name", provider.name],
    ["Kind", enumWord(provider.kind)],
    ["State", enumCell(provider.state)],
    ["Health", enumCell(provider.health)],
    ["Health since", healthTime === undefined ? "" : `${formatAge(now.getTime() - healthTime.getTime())} ago`],
    ["Observed", provider.healthMessage],
    ["Slots", slots(provider)],
    ["CPU", cpu(provider)],
    ["Memory", memory(provider)],
    ["Labels", formatPairs(provider.labels)],
    ["Endpoint", provider.endpoint],
    ["Registered", provider.createTime?.toISOString() ?? ""],
    ["Changed", provider.updateTime?.toISOString() ?? ""],
    ["Workers", isPool(provider.kind) ? String(workersOf(workerGroups)) : ""],
    ["Handlers", handlersOf(workerGroups)],
  ]);
  return workerGroups.length === 0 ? details : `${details}\n${formatGroups(workerGroups, terminalWidth())}`;
}

export function formatStats(stats: GetProviderStatsResponse): string {
  return formatDetails([
    ["Slots", slots(stats)],
    ["CPU", cpu(stats)],
    ["Memory", memory(stats)],
    ["Held", String(stats.held)],
    ["Confirmed", String(stats.confirmed)],
    ["Reservations ever", String(stats.total)],
    ["Expired", String(stats.expired)],
  ]);
}
