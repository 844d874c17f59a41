import { inTransaction, uuidv7 } from "@capstan/postgres";
import type { Placement } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { CapacityAnswer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { countRowsRead } from "../../../test/support/rowsRead.ts";
import { expireReservationsOnce, pruneReservationsOnce } from "./expireReservations.ts";
import { endReservations, findOverdue, markReleased } from "./reservationStore.ts";
import { aRequest, idsOf, requests, startTestService, type TestService } from "./startTestService.ts";

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});
beforeEach(() => service.clear());
afterAll(() => service.stop());

const heldIn = (answers: readonly CapacityAnswer[]) =>
  answers.filter(({ outcome }) => outcome?.$case === "held").length;
const reserve = async (batch: ReturnType<typeof requests>) =>
  (await service.orchestrator.reserveCapacity({ requests: batch, validateOnly: false })).answers;
const release = async (reservationIds: string[]) =>
  (await service.orchestrator.releaseReservations({ reservationIds })).released;
const confirm = async (reservationIds: string[]) =>
  (await service.orchestrator.confirmReservations({ reservationIds })).expiredIds;

async function provider(name: string) {
  const { provider } = await service.users.getProvider({ provider: name });
  if (provider === undefined) throw new Error("no provider in the answer");
  return provider;
}

function aPlacement(fields: Partial<Placement>): Placement {
  const strategy = "PLACEMENT_STRATEGY_UNSPECIFIED";
  return { provider: "", kind: "", constraints: [], strategy, spreadLabel: "", ...fields };
}

/** Lets the holds of these run out. */
async function overdue(ids: readonly string[]): Promise<void> {
  const text = "update reservation set expire_time = clock_timestamp() - interval '1 ms' where id = any($1::uuid[])";
  await service.pool.query(text, [ids]);
}

/** The counters of every provider against the sum of its live reservations. */
async function assertBooksBalance(): Promise<void> {
  const { rows } = await service.pool.query(
    `select p.name
       from provider p
       left join reservation r on r.provider_id = p.id and r.end_time is null
      group by p.id
     having p.used_slots <> coalesce(sum(r.slots), 0)
         or p.used_cpu_millis <> coalesce(sum(r.cpu_millis), 0)
         or p.used_memory_mib <> coalesce(sum(r.memory_mib), 0)
         or p.live_reservations <> count(r.id)
         or p.used_slots > p.slots`,
  );
  expect(rows).toEqual([]);
}

describe("reserving", () => {
  test("is answered but not done for who only asks", async () => {
    await service.ready("local", 1);
    const asked = requests(2);
    const { answers } = await service.orchestrator.reserveCapacity({ requests: asked, validateOnly: true });
    expect(answers.map(({ outcome }) => outcome?.$case)).toEqual(["held", "refused"]);
    expect((await provider("local")).reserved?.slots ?? 0).toBe(0);
    expect(heldIn(await reserve(asked.slice(1)))).toBe(1);
  });

  test("holds what fits, in order, and says of the rest that it is full", async () => {
    await service.ready("local", 3);
    const answers = await reserve(requests(5));
    expect(answers.map(({ outcome }) => outcome?.$case)).toEqual(["held", "held", "held", "refused", "refused"]);
    expect(answers[3]?.outcome?.value).toMatchObject({
      reason: "REASON_NO_CAPACITY",
      message: "every provider that matches is full: local needs 1 slots, 0 of 3 are free",
      failures: [{ providerName: "local", filter: "SLOTS" }],
    });
    expect((await provider("local")).reserved).toMatchObject({ slots: 3 });
    await assertBooksBalance();
  });

  test("twenty calls at once never take more than there is", async () => {
    await Promise.all([
      service.ready("a", 40),
      service.ready("b", 25, { capacity: { slots: 30, cpuMillis: 2_500, memoryMib: 0 } }),
    ]);
    const batches = Array.from({ length: 20 }, () =>
      requests(10, { resources: { slots: 1, cpuMillis: 100, memoryMib: 0 } }),
    );
    const answers = (await Promise.all(batches.map(reserve))).flat();
    expect(heldIn(answers)).toBe(65);
    expect((await provider("a")).reserved).toMatchObject({ slots: 40 });
    expect((await provider("b")).reserved).toMatchObject({ slots: 25, cpuMillis: 2_500 });
    await assertBooksBalance();
  });

  test("reserving, confirming and releasing the same ids at once ends with nothing in use", async () => {
    await Promise.all([service.ready("a", 100), service.ready("b", 100)]);
    const batch = requests(50);
    const ids = idsOf(batch);
    const reversed = [...ids].reverse();
    await Promise.all([
      reserve(batch),
      confirm(reversed),
      release(ids),
      reserve([...batch].reverse()),
      release(reversed),
    ]);
    await Promise.all([release(reversed), confirm(ids), reserve(batch)]);
    expect((await provider("a")).reserved).toMatchObject({ slots: 0 });
    expect((await provider("b")).reserved).toMatchObject({ slots: 0 });
    await assertBooksBalance();
  });

  test("the same again is answered as before and holds nothing twice", async () => {
    await service.ready("local", 10);
    const batch = requests(4);
    const [first, twice] = [await reserve(batch), await reserve([...batch, ...batch])];
    expect(twice).toEqual([...first, ...first]);
    expect((await provider("local")).reserved).toMatchObject({ slots: 4 });
  });

  test("the same again is answered as before even when there is no room left, or it was released since", async () => {
    await service.ready("local", 1);
    const [request] = requests(1);
    if (request === undefined) throw new Error("no request");
    const first = await reserve([request]);
    expect(await reserve([request])).toEqual(first);
    await release([request.reservationId]);
    expect(await reserve([request])).toEqual(first);
    expect((await provider("local")).reserved).toMatchObject({ slots: 0 });
  });

  test("what has expired is held anew, because who asks again has not started anything with it", async () => {
    await service.ready("local", 1);
    const [request, other] = requests(2);
    if (request === undefined || other === undefined) throw new Error("no requests");
    await reserve([request]);
    await overdue([request.reservationId]);
    await expireReservationsOnce(service.capacity);
    await reserve([other]);
    expect(heldIn(await reserve([request]))).toBe(0);
    await release([other.reservationId]);
    expect(heldIn(await reserve([request]))).toBe(1);
    expect(await confirm([request.reservationId])).toEqual([]);
    await assertBooksBalance();
  });

  test("what was released before it was made holds nothing", async () => {
    await service.ready("local", 10);
    const [early, ...others] = requests(3);
    if (early === undefined) throw new Error("no request");
    expect(await release([early.reservationId])).toBe(0);
    const [refused, ...held] = await reserve([early, ...others]);
    expect(refused?.outcome).toMatchObject({ $case: "refused", value: { reason: "REASON_OPERATOR" } });
    expect(heldIn(held)).toBe(2);
    expect(await release([early.reservationId])).toBe(0);
    await assertBooksBalance();
  });

  test("spreads jobs of one name over a label's values, counting what already runs", async () => {
    await service.ready("a", 10, { labels: { zone: "x" } });
    await service.ready("b", 10, { labels: { zone: "x" } });
    await service.ready("c", 10, { labels: { zone: "y" } });
    const placement = aPlacement({ strategy: "PLACEMENT_STRATEGY_SPREAD", spreadLabel: "zone" });
    const spread = { jobName: "web", placement };
    await reserve(requests(6, spread));
    await reserve(requests(6, { ...spread, jobName: "other" }));
    await reserve(requests(2, spread));
    const { rows } = await service.pool.query(
      `select p.labels ->> 'zone' as zone, count(*)
         from reservation r join provider p on p.id = r.provider_id
        where r.job_name = 'web' group by zone order by zone`,
    );
    expect(rows).toEqual([
      { zone: "x", count: 4 },
      { zone: "y", count: 4 },
    ]);
  });

  test("takes turns over calls with round robin", async () => {
    for (const name of ["a", "b", "c"]) await service.ready(name, 10);
    const placement = aPlacement({ strategy: "PLACEMENT_STRATEGY_ROUND_ROBIN" });
    const chosen: unknown[] = [];
    for (let call = 0; call < 4; call++) {
      const [answer] = await reserve(requests(1, { placement }));
      chosen.push(answer?.outcome?.$case === "held" && answer.outcome.value.providerName);
    }
    expect(chosen).toEqual(["a", "b", "c", "a"]);
  });

  test("knows no provider of another tenant", async () => {
    await service.ready("local", 10);
    const [answer] = await reserve(requests(1, { tenant: "other" }));
    expect(answer?.outcome?.value).toMatchObject({ message: "no provider is registered" });
  });

  test("an unknown operator or kind refuses one request, not its batch", async () => {
    await service.ready("local", 10);
    const placement = aPlacement({
      strategy: "UNRECOGNIZED",
      constraints: [{ key: "zone", operator: "UNRECOGNIZED", values: [] }],
    });
    const [refused, held] = await reserve([aRequest({ placement }), aRequest()]);
    expect(refused?.outcome?.value).toMatchObject({
      reason: "REASON_NO_PROVIDER_MATCHES",
      failures: [{ filter: "LABELS" }],
    });
    expect(held?.outcome?.$case).toBe("held");
  });

  test("refuses what cannot be stored with every bad field of every request", async () => {
    const bad = aRequest({
      reservationId: "x",
      jobId: "",
      tenant: "a.b",
      jobName: "a\u0000b",
      resources: { slots: -1, cpuMillis: -1, memoryMib: -1 },
      hold: { seconds: 1e12, nanos: 0 },
    });
    const refusal = await reserve([aRequest(), bad]).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS" });
    expect(
      (refusal as { fields: { field: string }[] }).fields.map(({ field }) => field.replace("requests[1].", "")),
    ).toEqual([
      "reservation_id",
      "job_id",
      "tenant",
      "job_name",
      "resources.slots",
      "resources.cpu_millis",
      "resources.memory_mib",
      "hold",
    ]);
    await expect(reserve(requests(1_001))).rejects.toThrow("has 1001 entries; the limit is 1000");
    expect(await reserve([])).toEqual([]);
  });
});

describe("ends of reservations", () => {
  test("releasing gives back once, however often it is asked", async () => {
    await service.ready("local", 10);
    const batch = requests(6);
    await reserve(batch);
    expect(await release([...idsOf(batch).slice(0, 4), ...idsOf(batch).slice(0, 4)])).toBe(4);
    expect(await release([...idsOf(batch), uuidv7()])).toBe(2);
    expect(await release([])).toBe(0);
    expect((await provider("local")).reserved).toMatchObject({ slots: 0 });
    await assertBooksBalance();
  });

  test("releasing does not pass by what is held between its statements", async () => {
    await service.ready("local", 1);
    const [request] = requests(1);
    const ids = [request?.reservationId ?? ""];
    const releasing = inTransaction(service.pool, async (db) => {
      expect(await endReservations(db, ids, "RELEASED")).toEqual([]);
      await reserve(request === undefined ? [] : [request]);
      await markReleased(db, ids);
    });
    await expect(releasing).rejects.toMatchObject({ code: "ABORTED" });
    expect(await release(ids)).toBe(1);
  });

  test("what is not confirmed in time expires, what is confirmed does not", async () => {
    await service.ready("local", 10);
    const batch = requests(4);
    await reserve(batch);
    const [kept = "", ...others] = idsOf(batch);
    expect(await confirm([kept, uuidv7()])).toEqual([]);
    expect(await expireReservationsOnce(service.capacity)).toBe(false);
    expect((await provider("local")).reserved).toMatchObject({ slots: 4 });
    await overdue(others);
    await expireReservationsOnce(service.capacity);
    expect((await provider("local")).reserved).toMatchObject({ slots: 1 });
    expect(await confirm([kept, ...others])).toEqual([...others].sort());
    const stats = await service.users.getProviderStats({ provider: "local" });
    expect(stats).toMatchObject({ held: 0, confirmed: 1, total: 4, expired: 3 });
    await assertBooksBalance();
  });

  test("looking for what expires reads nothing of what does not yet", async () => {
    await service.ready("local", 9);
    await reserve(requests(9));
    expect(await countRowsRead(service.pool, "reservation", (db) => findOverdue(db, 500))).toBe(0);
  });

  test("two sweeps at once expire each reservation once", async () => {
    const id = await service.ready("local", 100);
    const batch = requests(60);
    await reserve(batch);
    await overdue(idsOf(batch));
    await Promise.all([1, 2, 3].map(() => service.capacity.expire(500)));
    const expired = (await service.factsOf(id)).filter(({ event }) => event === "expired");
    expect(expired.flatMap(({ data }) => (data as { reservations: unknown[] }).reservations)).toHaveLength(60);
    await assertBooksBalance();
  });

  test("a draining provider is disabled with its last reservation, in the same transaction", async () => {
    const id = await service.ready("local", 10);
    const batch = requests(3);
    await reserve(batch);
    const [first = "", second = "", third = ""] = idsOf(batch);
    await confirm([first, second]);
    expect((await service.users.drainProvider({ provider: "local" })).provider?.state).toBe("PROVIDER_STATE_DRAINING");
    expect(heldIn(await reserve(requests(1)))).toBe(0);
    await release([first]);
    await overdue([third]);
    await expireReservationsOnce(service.capacity);
    expect((await provider("local")).state).toBe("PROVIDER_STATE_DRAINING");
    await release([second]);
    expect((await provider("local")).state).toBe("PROVIDER_STATE_DISABLED");
    const facts = (await service.factsOf(id)).map(({ noun, event }) => `${noun}.${event}`);
    expect(facts.slice(-5)).toEqual([
      "provider.draining",
      "reservation.released",
      "reservation.expired",
      "reservation.released",
      "provider.drained",
    ]);
  });

  test("ended ones are forgotten after their retention, live ones never", async () => {
    await service.ready("local", 10);
    const batch = requests(3);
    await reserve(batch);
    await release(idsOf(batch).slice(0, 1));
    await release([uuidv7()]);
    await pruneReservationsOnce(service.pool, 60_000);
    expect((await service.pool.query("select id from reservation")).rowCount).toBe(4);
    await pruneReservationsOnce(service.pool, -1);
    expect((await service.pool.query("select id from reservation")).rowCount).toBe(2);
    await assertBooksBalance();
  });
});

describe("facts", () => {
  test("tell of all reservations of one provider in one fact, numbered without a gap", async () => {
    const [a, b] = [await service.ready("a", 10), await service.ready("b", 10)];
    const jobId = uuidv7();
    const batch = requests(4, { jobId });
    await reserve(batch);
    await reserve(requests(2));
    await confirm(idsOf(batch));
    await release(idsOf(batch));
    for (const id of [a, b]) {
      const facts = await service.factsOf(id);
      expect(facts.map(({ noun, event }) => `${noun}.${event}`)).toEqual([
        "provider.registered",
        "provider.health_changed",
        "reservation.held",
        "reservation.held",
        "reservation.released",
      ]);
      expect(facts.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
    }
    const [, , held] = await service.factsOf(a);
    expect(held).toMatchObject({ correlationId: jobId, tenant: "default", isTerminal: false });
    expect(held?.data).toMatchObject({
      providerId: a,
      providerName: "a",
      reservations: [
        { jobId, state: "RESERVATION_STATE_HELD", amount: { slots: 1 } },
        { jobId, state: "RESERVATION_STATE_HELD", amount: { slots: 1 } },
      ],
    });
  });

  test("of a thousand reservations in one call fit in one message", async () => {
    const id = await service.ready("local", 1_000);
    expect(heldIn(await reserve(requests(1_000)))).toBe(1_000);
    expect((await service.factsOf(id)).at(-1)?.data).toMatchObject({
      reservations: expect.objectContaining({ length: 1_000 }),
    });
  });
});

test("the database refuses to over-commit a provider whatever a statement says", async () => {
  await service.ready("local", 10, { capacity: { slots: 10, cpuMillis: 1_000, memoryMib: 512 } });
  const set = (change: string) => service.pool.query(`update provider set ${change}`);
  await expect(set("used_slots = 11")).rejects.toThrow("slots_not_over_committed");
  await expect(set("used_slots = -1")).rejects.toThrow("violates check constraint");
  await expect(set("used_cpu_millis = 1001")).rejects.toThrow("cpu_not_over_committed");
  await expect(set("used_memory_mib = 513")).rejects.toThrow("memory_not_over_committed");
  await expect(set("used_slots = 1, live_reservations = 1, state = 'DISABLED'")).rejects.toThrow("disabled_is_empty");
  await set("memory_mib = 0, used_memory_mib = 1000000000000");
});
