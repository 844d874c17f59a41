/** How is shown whether services can do their work. */
import { formatAge } from "./durations.ts";
import { type Cell, formatTable } from "./table.ts";

/** One thing: a dependency has a duration, a loop the time since its last pass. */
interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly durationMs?: number;
  readonly lastPassMs?: number;
  readonly error?: string;
}

export interface ServiceHealth {
  readonly service: string;
  readonly ready: boolean;
  readonly dependencies: readonly Check[];
  readonly loops: readonly Check[];
}

function timeOf({ durationMs, lastPassMs }: Check): string {
  if (durationMs !== undefined) return `${Math.round(durationMs)} ms`;
  return lastPassMs === undefined ? "" : `${formatAge(lastPassMs)} ago`;
}

/** Each service, what it depends on and its loops. */
export function formatHealth(services: readonly ServiceHealth[]): string {
  if (services.length === 0) return "no service answers here\n";
  const health = ({ ok }: Check): Cell => (ok ? { text: "ok", colour: "green" } : { text: "DOWN", colour: "red" });
  const rows = services.flatMap(({ service, ready, dependencies, loops }) => [
    { service, kind: "service", check: { name: service, ok: ready } as Check },
    ...dependencies.map((check) => ({ service, kind: "dependency", check })),
    ...loops.map((check) => ({ service, kind: "loop", check })),
  ]);
  return formatTable(rows, [
    { title: "SERVICE", cell: ({ service }) => service },
    { title: "KIND", cell: ({ kind }) => kind },
    { title: "NAME", cell: ({ check }) => check.name },
    { title: "HEALTH", cell: ({ check }) => health(check) },
    { title: "TIME", cell: ({ check }) => timeOf(check) },
    { title: "ERROR", cell: ({ check }) => check.error ?? "" },
  ]);
}
