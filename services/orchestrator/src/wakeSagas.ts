/**
 * Sends the command of a stage again when the saga has stood still for too long: the repair of every crash and lost answer. And does what
 * queues want done about those that wait for too long.
 */
import type { App, Loop } from "@capstan/service";
import { driveSagas } from "./driveSagas.ts";
import { followWaitRulesOnce, type WaitRuleDeps } from "./followWaitRules.ts";
import { claimOverdue } from "./sagaStore.ts";

const passLimit = 256;

/** With nothing due, the least that is looked: so many times the interval. */
const idleFactor = 5;

/** Looks when the next saga is due, but no sooner than after `intervalMs`. */
export function startWaking(app: App, deps: WaitRuleDeps, intervalMs: number): Loop {
  const longestMs = idleFactor * intervalMs;
  let timer: NodeJS.Timeout | undefined;
  const loop = app.startLoop({
    name: "wake-sagas",
    intervalMs: longestMs,
    once: async () => {
      const isMoreToFollow = await followWaitRulesOnce(deps);
      const { sagas, nextMs } = await claimOverdue(deps.pool, passLimit);
      await driveSagas(
        deps,
        sagas.map((saga) => ({ saga, happened: [{ type: "overdue" }] })),
      );
      clearTimeout(timer);
      if (nextMs !== null && nextMs < longestMs) timer = setTimeout(() => loop.wake(), Math.max(nextMs, intervalMs));
      return sagas.length === passLimit || isMoreToFollow;
    },
  });
  app.onStop(() => clearTimeout(timer));
  return loop;
}
