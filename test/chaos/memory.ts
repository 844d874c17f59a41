/** What the services hold in memory, warm and under load, and again once all is quiet. */
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { residentMib } from "../bench/processes.ts";
import type { Node } from "./node.ts";

/** Of a replica, whichever process it was at either time. */
export interface MemorySeen {
  readonly label: string;
  readonly warmMib: number;
  readonly quietMib: number;
}

/** Load goes on for so long before what a service holds is what it holds when it works. */
export const warmUpMs = 15_000;
const collectMs = 3_000;
/** What a service may hold beyond that when nothing is under way, in MiB: remembered jobs, statements, connections. */
export const maxGrowthMib = 64;

/** For the services whose memory is looked at. */
export const collectsGarbage = `--import=${fileURLToPath(new URL("./collectGarbage.ts", import.meta.url))}`;

/** Resident memory by label in MiB, without garbage. */
export async function readMemory(services: readonly Node[]): Promise<ReadonlyMap<string, number>> {
  const running = services.filter((node) => node.isRunning());
  for (const { pid } of running) process.kill(pid, "SIGUSR2");
  await sleep(collectMs);
  return new Map(running.map(({ label, pid }) => [label, residentMib(pid)]));
}

/** Those that run now, beside what they had then. */
export async function compareMemory(
  warm: ReadonlyMap<string, number>,
  services: readonly Node[],
): Promise<readonly MemorySeen[]> {
  const quiet = await readMemory(services);
  return [...quiet].map(([label, quietMib]) => ({ label, warmMib: warm.get(label) ?? 0, quietMib }));
}
