/**
 * Sends the command of a stage again when the saga has stood still for too long: the repair of every crash and lost answer. And does what
 * queues want done about those that wait for too long.
 */
import type { App, Loop } from "@capstan/service";
import { driveSagas, type SagaDeps } from "./driveSagas.ts";
import { followWaitRulesOnce, type WaitRuleDeps } from "./followWaitRules.ts";
import { claimOverdue } from "./sagaStore.ts";

const passLimit = 256;

export function startWaking(app: App, deps: WaitRuleDeps, intervalMs: number): Loop {
  return app.startLoop({
    name: "wake-sagas",
    intervalMs,
    once: async () => {
      const [isMore, isMoreToFollow] = [await wakeSagasOnce(deps), await followWaitRulesOnce(deps)];
      return isMore || isMoreToFollow;
    },
  });
}

/** One pass; true when there may be more. */
export async function wakeSagasOnce(deps: SagaDeps): Promise<boolean> {
  const sagas = await claimOverdue(deps.pool, passLimit);
  await driveSagas(
    deps,
    sagas.map((saga) => ({ saga, happened: [{ type: "overdue" }] })),
  );
  return sagas.length === passLimit;
}
