/**
 * A platform whose failpoints can be armed, and who starts again what died of them, as systemd or Kubernetes would. Times that decide
 * how soon something is given up are short here, so that what is hung is met by the product's own deadlines within a second or two.
 */
import { existsSync, renameSync, statSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Armed } from "../../libs/failpoints/src/failpoint.ts";
import { eventually } from "../support/eventually.ts";
import { serviceNames } from "../support/serviceProcess.ts";
import { type Platform, startPlatform } from "../support/startPlatform.ts";
import { note, pool } from "./faultJobs.ts";

export interface FaultPlatform {
  readonly platform: Platform;
  /** Where ledgers go. */
  readonly directory: string;
  /** Has one failpoint fire once; gives back how to see whether it has. */
  arm(armed: Armed): Promise<{ firedAt(): number | null }>;
  /** Deaths since the last call: who died of a failpoint and was started again. */
  takeDeaths(): readonly string[];
  /** What passed so far; empty unless the platform was started with a trace. */
  readPassed(): Promise<readonly Passed[]>;
  stop(): Promise<void>;
}

/** An operation that went by a failpoint. */
export interface Passed {
  readonly point: string;
  readonly stage: string;
  readonly words: readonly string[];
}

const shortTimes = {
  CAPSTAN_STATEMENT_TIMEOUT_MS: "1000",
  CAPSTAN_CALL_TIMEOUT_MS: "1500",
  CAPSTAN_WAKE_INTERVAL_MS: "250",
  CAPSTAN_RECONCILE_INTERVAL_MS: "1000",
  CAPSTAN_ACK_WAIT_MS: "1500",
  CAPSTAN_LEASE_MS: "3000",
  CAPSTAN_WORKER_LEASE_MS: "3000",
  CAPSTAN_TAKE_OVER_INTERVAL_MS: "250",
  CAPSTAN_REAP_INTERVAL_MS: "500",
  CAPSTAN_PROBE_INTERVAL_MS: "500",
  CAPSTAN_PROBE_TIMEOUT_MS: "2000",
  CAPSTAN_EXPIRE_INTERVAL_MS: "500",
};

/** With a worker jobs of handlers can run too. */
export async function startFaultPlatform({ isTraced = false, hasWorker = false } = {}): Promise<FaultPlatform> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-faults-"));
  if (isTraced) await writeFile(join(directory, "trace"), "");
  const env = { NODE_ENV: "test", CAPSTAN_FAILPOINTS: directory, ...shortTimes };
  const platform = await startPlatform({ env });
  await eventually(async () => {
    const { provider } = await platform.capstan.providers.getProvider({ provider: "local" });
    return provider?.health === "PROVIDER_HEALTH_HEALTHY";
  }, 30_000);
  const worker = hasWorker ? await platform.capstan.worker({ pool, slots: 8, handlers: { note } }) : null;
  let deaths: string[] = [];
  let count = 0;
  let isStopping = false;

  async function supervise(): Promise<void> {
    while (!isStopping) {
      await Promise.all(serviceNames.map(revive));
      await sleep(20);
    }
  }

  async function revive(name: (typeof serviceNames)[number]): Promise<void> {
    const end = platform.services[name].acceptEnd();
    if (end === null) return;
    deaths.push(end);
    await platform.services[name].start().catch((error: unknown) => deaths.push(String(error)));
  }

  const supervising = supervise();
  return {
    platform,
    directory,
    async arm(armed) {
      const name = `${++count}`;
      await writeFile(join(directory, `new.${name}`), JSON.stringify(armed));
      renameSync(join(directory, `new.${name}`), join(directory, `armed.${name}`));
      const fired = join(directory, `fired.${name}`);
      return { firedAt: () => (existsSync(fired) ? statSync(fired).ctimeMs : null) };
    },
    takeDeaths() {
      const taken = deaths;
      deaths = [];
      return taken;
    },
    async readPassed() {
      const text = await readFile(join(directory, "passed"), "utf8").catch(() => "");
      return text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Passed);
    },
    async stop() {
      isStopping = true;
      await supervising;
      await worker?.stop({ graceMs: 5_000 });
      try {
        await platform.stop();
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

/** Resolves when all services are ready. */
export function untilAllReady({ platform }: FaultPlatform): Promise<unknown> {
  return eventually(async () => {
    const ready = await Promise.all(serviceNames.map((name) => platform.services[name].readiness()));
    return ready.every((each) => each.ready);
  }, 30_000);
}
