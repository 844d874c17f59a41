/** A provider for unit specs: ACTIVE, HEALTHY, empty; say only what matters. */
import type { Provider } from "./provider.ts";

export function aProvider(fields: Partial<Provider> = {}): Provider {
  return {
    id: "01890000-0000-7000-8000-000000000001",
    tenant: "default",
    name: "local",
    kind: "PROCESS",
    state: "ACTIVE",
    health: "HEALTHY",
    healthMessage: "",
    healthFailures: 0,
    healthTime: null,
    capacity: { slots: 10, cpuMillis: 4_000, memoryMib: 0 },
    reserved: { slots: 0, cpuMillis: 0, memoryMib: 0 },
    live: 0,
    made: 0,
    expired: 0,
    lastChosen: 0,
    labels: {},
    endpoint: "",
    workerGroups: [],
    poolTime: null,
    version: 1,
    sequence: 1,
    createTime: new Date(0),
    updateTime: new Date(0),
    ...fields,
  };
}
