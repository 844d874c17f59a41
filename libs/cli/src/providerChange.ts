/** What `capstan provider update` asks for: the parts that were given, laid over the provider as it was read. Pure. */
import type { Provider } from "@capstan/proto/capstan/provider/v1/provider.ts";
import type { UpdateProviderRequest } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { UsageError } from "./failure.ts";

export interface ProviderChange {
  readonly slots?: number;
  readonly cpu?: number;
  readonly memory?: number;
  /** Labels to set; the others stay. */
  readonly label?: Readonly<Record<string, string>>;
  readonly removeLabel?: readonly string[];
  readonly endpoint?: string;
}

function changeLabels(labels: Readonly<Record<string, string>>, change: ProviderChange): Record<string, string> {
  const kept = Object.entries(labels).filter(([key]) => !change.removeLabel?.includes(key));
  return { ...Object.fromEntries(kept), ...change.label };
}

/**
 * The request, tied to the provider that was read by its etag: somebody else's change in between is refused as ABORTED instead of
 * being undone in silence. Refuses a change of nothing.
 */
export function changeProvider(current: Provider, change: ProviderChange): UpdateProviderRequest {
  const { slots, cpu, memory, label, removeLabel, endpoint } = change;
  const updateMask = [
    ...((slots ?? cpu ?? memory) === undefined ? [] : ["capacity"]),
    ...((label ?? removeLabel) === undefined ? [] : ["labels"]),
    ...(endpoint === undefined ? [] : ["endpoint"]),
  ];
  if (updateMask.length === 0) throw new UsageError("say what to change; see capstan provider update --help");
  return {
    provider: current.id,
    capacity: {
      slots: slots ?? current.capacity?.slots ?? 0,
      cpuMillis: cpu ?? current.capacity?.cpuMillis ?? 0,
      memoryMib: memory ?? current.capacity?.memoryMib ?? 0,
    },
    labels: changeLabels(current.labels, change),
    endpoint: endpoint ?? "",
    updateMask,
    etag: current.etag,
  };
}
