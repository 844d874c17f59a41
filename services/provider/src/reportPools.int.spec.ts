import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { aReport, aRequest, requests, startTestService, type TestService } from "./startTestService.ts";

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});
beforeEach(() => service.clear());
afterAll(() => service.stop());

const pool = async (name = "pool") => (await service.users.getProvider({ provider: name })).provider;
const eventsOf = async (id: string) => (await service.factsOf(id)).map(({ event }) => event);
const workers = (count: number, handlers = ["resize"], labels: Record<string, string> = {}) => ({
  handlers,
  labels,
  workers: count,
  slots: count * 5,
});
/** What a write of any kind would change. */
const written = async () => (await service.pool.query("select xmin::text, provider.* from provider")).rows;

describe("a report of a pool", () => {
  test("registers it with its first worker, HEALTHY at once and with one fact", async () => {
    const { providerId, refusal } = await service.report({
      groups: [workers(2), workers(1, ["crop"], { gpu: "yes" })],
    });
    expect(refusal).toBe("");
    expect(await pool()).toMatchObject({
      id: providerId,
      kind: "PROVIDER_KIND_WORKER",
      state: "PROVIDER_STATE_ACTIVE",
      health: "PROVIDER_HEALTH_HEALTHY",
      healthMessage: "3 workers, 15 slots",
      capacity: { slots: 15, cpuMillis: 0, memoryMib: 0 },
      workerGroups: [workers(1, ["crop"], { gpu: "yes" }), workers(2)],
      etag: "1",
    });
    const [fact, ...others] = await service.factsOf(providerId);
    expect(others).toEqual([]);
    expect(fact).toMatchObject({ noun: "provider", event: "registered", sequence: 1 });
    expect(fact?.data).toMatchObject({ provider: { kind: "PROVIDER_KIND_WORKER", capacity: { slots: 15 } } });
  });

  test("tells of other workers with one fact, and of health only when that changes", async () => {
    const { providerId } = await service.report();
    await service.report({ groups: [workers(2)] });
    expect(await eventsOf(providerId)).toEqual(["registered", "updated"]);
    await service.report({ groups: [] });
    expect(await pool()).toMatchObject({
      health: "PROVIDER_HEALTH_UNHEALTHY",
      healthMessage: "no worker is connected",
      capacity: { slots: 0 },
      workerGroups: [],
    });
    await service.report();
    expect(await eventsOf(providerId)).toEqual([
      "registered",
      "updated",
      "updated",
      "health_changed",
      "updated",
      "health_changed",
    ]);
    expect(await pool()).toMatchObject({ health: "PROVIDER_HEALTH_HEALTHY", etag: "1" });
  });

  test("that says nothing new, or is older than what is known, writes nothing", async () => {
    const groups = [workers(1, ["b", "a"], { zone: "x", gpu: "no" }), workers(2)];
    const { providerId } = await service.report({ groups });
    const before = await written();
    const same = [workers(2), workers(1, ["a", "b"], { gpu: "no", zone: "x" })];
    expect(await service.report({ groups: same })).toEqual({ providerId, refusal: "" });
    expect(await service.report({ groups: [], observeTime: new Date(0) })).toEqual({ providerId, refusal: "" });
    expect(await written()).toEqual(before);
    expect(await eventsOf(providerId)).toEqual(["registered"]);
  });

  test("of several pools is answered in order, and the newest of one pool counts", async () => {
    const [older, newer] = [aReport({ name: "a", groups: [workers(1)] }), aReport({ name: "a", groups: [workers(4)] })];
    const { answers } = await service.orchestrator.reportPools({ pools: [newer, aReport({ name: "b" }), older] });
    const [a, b] = [await pool("a"), await pool("b")];
    expect(answers.map(({ providerId }) => providerId)).toEqual([a?.id, b?.id, a?.id]);
    expect(a?.capacity?.slots).toBe(20);
    expect(await eventsOf(a?.id ?? "")).toEqual(["registered"]);
  });

  test("at once by many makes one pool of each name, as the newest saw it", async () => {
    const reports = Array.from({ length: 10 }, (_, index) =>
      ["a", "b", "c"].map((name) => aReport({ name, groups: [workers(index + 1)] })),
    );
    const told = reports.map((pools, index) => (index % 2 === 0 ? pools : [...pools].reverse()));
    await Promise.all(told.map((pools) => service.orchestrator.reportPools({ pools })));
    for (const name of ["a", "b", "c"]) expect((await pool(name))?.capacity?.slots).toBe(50);
    expect(await written()).toHaveLength(3);
  });

  test("is refused alone when the name is that of another kind or it is bad", async () => {
    await service.ready("local", 1);
    const { answers } = await service.orchestrator.reportPools({
      pools: [
        aReport({ name: "local" }),
        aReport({ name: "Bad Name" }),
        aReport({ name: "good" }),
        aReport({ tenant: "a b", groups: [workers(0)], observeTime: undefined }),
      ],
    });
    expect(answers[0]).toEqual({ providerId: "", refusal: "local is a provider of kind process, no worker pool" });
    expect(answers[1]?.refusal).toMatch(/^name: must match/);
    expect(answers[2]).toEqual({ providerId: (await pool("good"))?.id, refusal: "" });
    expect(answers[3]?.refusal).toMatch(/^tenant: .*groups\[0\].workers: .*observe_time: is required$/);
    expect(await pool("local")).toMatchObject({ kind: "PROVIDER_KIND_PROCESS", workerGroups: [] });
  });

  test("of more pools than a message may have is refused whole", async () => {
    const pools = Array.from({ length: 1_001 }, () => aReport());
    await expect(service.orchestrator.reportPools({ pools })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("without a worker registers nothing, so that a deleted pool stays away", async () => {
    await service.report();
    await service.users.deleteProvider({ provider: "pool" });
    expect(await service.report({ groups: [] })).toEqual({ providerId: "", refusal: "" });
    expect(await written()).toEqual([]);
  });

  test("with more groups than a fact may hold leaves them out of the fact only", async () => {
    const handlers = Array.from({ length: 256 }, (_, index) => `${"h".repeat(120)}${index}`);
    const groups = Array.from({ length: 20 }, (_, index) => workers(1, handlers, { host: `h${index}` }));
    const { providerId } = await service.report({ groups });
    expect((await pool())?.workerGroups).toHaveLength(20);
    const [fact] = await service.factsOf(providerId);
    expect(fact?.data).toMatchObject({ provider: { capacity: { slots: 100 } } });
    expect(fact?.data).not.toMatchObject({ provider: { workerGroups: [{}] } });
  });
});

describe("a pool", () => {
  const handler = { handler: "resize" };
  const reserve = async (batch: ReturnType<typeof requests>) =>
    (await service.orchestrator.reserveCapacity({ requests: batch, validateOnly: false })).answers;

  test("takes steps that have its handler, until its slots are used", async () => {
    await Promise.all([service.ready("local", 10), service.report()]);
    const answers = await reserve([...requests(6, handler), aRequest(), aRequest({ handler: "rotate" })]);
    const [first] = answers;
    expect(first?.outcome?.value).toMatchObject({ providerName: "pool", kind: "PROVIDER_KIND_WORKER", endpoint: "" });
    expect(answers.map(({ outcome }) => outcome?.$case)).toEqual([
      ...Array(5).fill("held"),
      "refused",
      "held",
      "refused",
    ]);
    expect(answers[5]?.outcome?.value).toMatchObject({ reason: "REASON_NO_CAPACITY" });
    expect(answers[7]?.outcome?.value).toMatchObject({
      reason: "REASON_NO_PROVIDER_MATCHES",
      failures: [
        {
          providerName: "pool",
          filter: "HANDLER",
          message: 'has no worker with the handler "rotate"; it has: "resize"',
        },
        { providerName: "local", filter: "KIND" },
      ],
    });
  });

  test("may lose slots in use, takes nothing until they are free again, and keeps its books", async () => {
    await service.report({ groups: [workers(2)] });
    const batch = requests(10, handler);
    await reserve(batch);
    await service.report();
    expect(await pool()).toMatchObject({ capacity: { slots: 5 }, reserved: { slots: 10 } });
    const ids = batch.map(({ reservationId }) => reservationId);
    await service.orchestrator.confirmReservations({ reservationIds: ids });
    const [full] = await reserve(requests(1, handler));
    expect(full?.outcome?.value).toMatchObject({ failures: [{ message: "needs 1 slots, 0 of 5 are free" }] });
    await service.orchestrator.releaseReservations({ reservationIds: ids.slice(0, 6) });
    const again = await reserve(requests(2, handler));
    expect(again.map(({ outcome }) => outcome?.$case)).toEqual(["held", "refused"]);
    expect(await pool()).toMatchObject({ reserved: { slots: 5 }, workerGroups: [workers(1)] });
  });

  test("is neither registered nor changed by hand", async () => {
    const capacity = { slots: 4, cpuMillis: 0, memoryMib: 0 };
    const kind = "PROVIDER_KIND_WORKER" as const;
    const registering = service.users.registerProvider({ name: "pool", kind, capacity, labels: {}, endpoint: "" });
    await expect(registering).rejects.toThrow("a worker pool registers itself with its first worker");
    await service.report();
    for (const field of ["capacity", "labels", "endpoint"]) {
      const change = { provider: "pool", capacity, labels: { zone: "a" }, endpoint: "", etag: "" };
      const updating = service.users.updateProvider({ ...change, updateMask: [field] });
      await expect(updating).rejects.toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field }] });
    }
    await service.report({ groups: [workers(2)] });
    expect(await pool()).toMatchObject({ labels: {}, capacity: { slots: 10 }, etag: "1" });
  });

  test("is cordoned, drained and deleted like any provider, whatever its workers do meanwhile", async () => {
    const { providerId } = await service.report();
    const batch = requests(1, handler);
    await reserve(batch);
    await expect(service.users.deleteProvider({ provider: "pool" })).rejects.toMatchObject({
      reason: "PROVIDER_IN_USE",
    });
    await service.users.drainProvider({ provider: "pool" });
    await service.report({ groups: [workers(3)] });
    await service.orchestrator.releaseReservations({ reservationIds: batch.map(({ reservationId }) => reservationId) });
    expect(await pool()).toMatchObject({ state: "PROVIDER_STATE_DISABLED", capacity: { slots: 15 } });
    await service.users.deleteProvider({ provider: "pool" });
    const again = await service.report();
    expect(again.providerId).not.toBe(providerId);
    expect(await pool()).toMatchObject({ state: "PROVIDER_STATE_ACTIVE" });
  });

  test("has no probes: what they report of it is passed over", async () => {
    const { providerId } = await service.report();
    const before = await written();
    const observation = { providerId, isGood: false, message: "no" };
    await service.orchestrator.reportHealth({ observations: [observation, observation, observation] });
    expect(await written()).toEqual(before);
  });
});

test("the database lets no other kind be over-committed, have no slots or have workers", async () => {
  await service.ready("local", 4);
  await service.report();
  const change = (set: string, name = "local") =>
    service.pool.query(`update provider set ${set} where name = $1`, [name]);
  await expect(change("used_slots = 5")).rejects.toThrow("slots_not_over_committed");
  await expect(change("slots = 0")).rejects.toThrow("provider_slots_check");
  await expect(change("worker_groups = '[{}]'")).rejects.toThrow("only_pools_have_workers");
  await expect(change("pool_time = now()")).rejects.toThrow("pool_has_time");
  await expect(change("used_slots = -1", "pool")).rejects.toThrow("violates check constraint");
  await expect(change("slots = 100001", "pool")).rejects.toThrow("provider_slots_check");
  await change("used_slots = 9, slots = 0", "pool");
});
