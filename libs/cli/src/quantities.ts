/** Amounts of CPU and memory as people write them, in the units of the contracts. */

/** Thousandths of a CPU of `500m`, `0.5` or `2`; null if it is not an amount or is finer than a thousandth. */
export function parseCpuMillis(text: string): number | null {
  const match = /^(\d{1,7})(\.\d{1,3})?(m?)$/.exec(text);
  if (match === null || (match[3] === "m" && match[2] !== undefined)) return null;
  return match[3] === "m" ? Number(match[1]) : Math.round(Number(`${match[1]}${match[2] ?? ""}`) * 1_000);
}

const mibPerUnit = { Mi: 1, Gi: 1_024, Ti: 1_048_576 } as const;

/** Mebibytes of `128Mi`, `1.5Gi` or `1Ti`; null if it is not an amount or not a whole number of mebibytes. */
export function parseMemoryMib(text: string): number | null {
  const match = /^(\d{1,8}(?:\.\d{1,3})?)(Mi|Gi|Ti)$/.exec(text);
  if (match === null) return null;
  const mebibytes = Number(match[1]) * mibPerUnit[match[2] as keyof typeof mibPerUnit];
  return Number.isInteger(mebibytes) ? mebibytes : null;
}

/** `500m`, or `2` for whole CPUs; `-` when 0, which means not counted. */
export function formatCpu(cpuMillis: number): string {
  if (cpuMillis === 0) return "-";
  return cpuMillis % 1_000 === 0 ? String(cpuMillis / 1_000) : `${cpuMillis}m`;
}

/** `128Mi` or `2Gi`; `-` when 0, which means not counted. */
export function formatMemory(memoryMib: number): string {
  if (memoryMib === 0) return "-";
  return memoryMib % 1_024 === 0 ? `${memoryMib / 1_024}Gi` : `${memoryMib}Mi`;
}

/** `512 B`, `1.5 KiB`, `3.0 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1_024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${power === 0 ? bytes : (bytes / 1_024 ** power).toFixed(1)} ${units[power]}`;
}
