/** An operator registers places, empties them and takes them away, while jobs run on them. */

import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { getJob, refusalOf, run, seconds, sh, stepOf, submit, untilEnded, untilPlaced } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

const register = async (name: string, slots: number, labels: Record<string, string> = {}) => {
  const { capstan } = platform();
  const capacity = { slots, cpuMillis: 0, memoryMib: 0 };
  await capstan.providers.registerProvider({ name, kind: "PROVIDER_KIND_PROCESS", capacity, labels, endpoint: "" });
  await eventually(async () => expect((await get(name))?.health).toBe("PROVIDER_HEALTH_HEALTHY"));
};
const get = async (provider: string) => (await platform().capstan.providers.getProvider({ provider })).provider;
const on = (provider: string, line: string) => sh(line, { placement: { provider }, stopGrace: seconds(1) });

async function untilWaiting(job: Job, reason: string): Promise<string> {
  return eventually(async () => {
    const step = stepOf(await getJob(platform().capstan, job.id));
    expect(step).toMatchObject({ state: "STEP_STATE_READY", reason });
    return step.message;
  });
}

test("a new provider takes work as soon as it was seen to be well", async () => {
  await register("fresh", 2);
  const job = await run(platform().capstan, on("fresh", "true"));
  expect(stepOf(job).providerName).toBe("fresh");
});

test("registering the same again is answered as it stands; another one of the name is refused", async () => {
  const { providers } = platform().capstan;
  await register("once", 2);
  const request = { name: "once", kind: "PROVIDER_KIND_PROCESS" as const, labels: {}, endpoint: "" };
  const capacity = { slots: 2, cpuMillis: 0, memoryMib: 0 };
  expect(await providers.registerProvider({ ...request, capacity })).toMatchObject({ existed: true });
  const other = providers.registerProvider({ ...request, capacity: { ...capacity, slots: 3 } });
  expect(await refusalOf(other)).toMatchObject({ code: "ALREADY_EXISTS", resource: { name: "once" } });
});

test("a cordoned provider takes no new work and says so, what runs goes on, and uncordoned it takes work again", async () => {
  const { capstan } = platform();
  await register("cordoned", 2);
  const running = await submit(capstan, on("cordoned", "sleep 0.5"));
  await untilPlaced(capstan, running);
  await capstan.providers.cordonProvider({ provider: "cordoned" });
  const waiting = await submit(capstan, on("cordoned", "true"));
  expect(await untilWaiting(waiting, "REASON_NO_PROVIDER_MATCHES")).toMatch(/cordoned.*CORDONED/i);
  expect(await untilEnded(capstan, running)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  await capstan.providers.uncordonProvider({ provider: "cordoned" });
  expect(await untilEnded(capstan, waiting)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

test("a drained provider is disabled once what runs on it has ended, and activated it takes work again", async () => {
  const { capstan } = platform();
  await register("drained", 2);
  const running = await submit(capstan, on("drained", "sleep 0.5"));
  await untilPlaced(capstan, running);
  const { provider } = await capstan.providers.drainProvider({ provider: "drained" });
  expect(provider?.state).toBe("PROVIDER_STATE_DRAINING");
  expect(await untilEnded(capstan, running)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  await eventually(async () => expect((await get("drained"))?.state).toBe("PROVIDER_STATE_DISABLED"));
  await capstan.providers.activateProvider({ provider: "drained" });
  expect(await run(capstan, on("drained", "true"))).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

test("a provider in use can be neither deactivated nor deleted; an empty one can", async () => {
  const { capstan } = platform();
  await register("busy", 2);
  const running = await submit(capstan, on("busy", "sleep 3600"));
  await untilPlaced(capstan, running);
  for (const call of [capstan.providers.deleteProvider, capstan.providers.deactivateProvider]) {
    expect(await refusalOf(call({ provider: "busy" }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "PROVIDER_IN_USE",
      message: expect.stringContaining("busy"),
    });
  }
  await capstan.jobs.cancelJob({ jobId: running.id, message: "" });
  await untilEnded(capstan, running);
  await eventually(() => capstan.providers.deleteProvider({ provider: "busy" }));
  expect(await refusalOf(capstan.providers.getProvider({ provider: "busy" }))).toMatchObject({ code: "NOT_FOUND" });
});

test("a full provider takes no more than it has; the rest waits, says why, and follows by priority", async () => {
  const { capstan } = platform();
  await register("small", 1);
  const first = await submit(capstan, on("small", "sleep 0.7"));
  await untilPlaced(capstan, first);
  const low = await submit(capstan, on("small", "true"), { priority: -5 });
  expect(await untilWaiting(low, "REASON_NO_CAPACITY")).toContain("small");
  const high = await submit(capstan, on("small", "true"), { priority: 5 });
  const [lowEnd, highEnd] = await Promise.all([untilEnded(capstan, low), untilEnded(capstan, high)]);
  expect(highEnd.startTime?.getTime()).toBeLessThan(lowEnd.startTime?.getTime() ?? 0);
});

test("a job goes only where the labels fit, and one that fits nowhere names the filter per provider", async () => {
  const { capstan } = platform();
  await register("a-zone-1", 2, { zone: "a", size: "10" });
  await register("a-zone-2", 2, { zone: "b", size: "20" });
  const constrained = (
    constraints: { key: string; operator: "LABEL_OPERATOR_EQ" | "LABEL_OPERATOR_GT"; values: string[] }[],
  ) => ({
    command: ["true"],
    placement: { constraints },
  });
  const job = await run(capstan, constrained([{ key: "size", operator: "LABEL_OPERATOR_GT", values: ["15"] }]));
  expect(stepOf(job).providerName).toBe("a-zone-2");
  const nowhere = await submit(capstan, constrained([{ key: "zone", operator: "LABEL_OPERATOR_EQ", values: ["c"] }]));
  const message = await untilWaiting(nowhere, "REASON_NO_PROVIDER_MATCHES");
  expect(message).toContain(`a-zone-1 wants "zone" EQ "c"`);
  await capstan.jobs.cancelJob({ jobId: nowhere.id, message: "" });
  await untilEnded(capstan, nowhere);
});

test("an update with an old etag is refused, one that takes away what is reserved too", async () => {
  const { capstan } = platform();
  await register("resized", 4);
  const before = await get("resized");
  const resize = (slots: number, etag: string) =>
    capstan.providers.updateProvider({
      ...{ provider: "resized", capacity: { slots, cpuMillis: 0, memoryMib: 0 }, labels: {}, endpoint: "" },
      ...{ updateMask: ["capacity"], etag },
    });
  const { provider: after } = await resize(3, before?.etag ?? "");
  expect(after?.capacity?.slots).toBe(3);
  expect(await refusalOf(resize(5, before?.etag ?? ""))).toMatchObject({ code: "ABORTED" });
  const running = await submit(capstan, { ...on("resized", "sleep 3600"), resources: { slots: 2 } });
  await untilPlaced(capstan, running);
  expect(await refusalOf(resize(1, ""))).toMatchObject({ code: "FAILED_PRECONDITION" });
  await capstan.jobs.cancelJob({ jobId: running.id, message: "" });
  await untilEnded(capstan, running);
});

test("the figures of a provider add up", async () => {
  const { capstan } = platform();
  await register("counted", 4);
  await Promise.all(Array.from({ length: 10 }, () => run(capstan, on("counted", "true"))));
  await eventually(async () => {
    expect(await capstan.providers.getProviderStats({ provider: "counted" })).toMatchObject({
      ...{ total: 10, held: 0, confirmed: 0, expired: 0 },
      ...{ capacity: { slots: 4 }, reserved: { slots: 0 } },
    });
  });
});
