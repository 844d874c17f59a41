import { migrate, uuidv7 } from "@capstan/postgres";
import type {
  RegisterProviderRequest,
  UpdateProviderRequest,
} from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createTestDatabase, queryOnce } from "../../../test/support/database.ts";
import { idsOf, requests, startTestService, type TestService } from "./startTestService.ts";

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});
beforeEach(() => service.clear());
afterAll(() => service.stop());

const amount = (slots: number) => ({ slots, cpuMillis: 0, memoryMib: 0 });
const aRegistration = (fields: Partial<RegisterProviderRequest> = {}): RegisterProviderRequest => ({
  name: "docker-1",
  kind: "PROVIDER_KIND_DOCKER",
  capacity: { slots: 4, cpuMillis: 2_000, memoryMib: 1_024 },
  labels: { zone: "a" },
  endpoint: "unix:///var/run/docker.sock",
  ...fields,
});
const register = (fields: Partial<RegisterProviderRequest> = {}) =>
  service.users.registerProvider(aRegistration(fields));
const names = async (filter: string) => {
  const { providers } = await service.users.listProviders({ filter, pageSize: 0, pageToken: "" });
  return providers.map(({ name }) => name);
};
const eventsOf = async (id: string) => (await service.factsOf(id)).map(({ event }) => event);

describe("registering", () => {
  test("makes a provider ACTIVE and of UNKNOWN health, found by id and by name", async () => {
    const { provider, existed } = await register();
    expect(existed).toBe(false);
    expect(provider).toMatchObject({
      tenant: "default",
      name: "docker-1",
      kind: "PROVIDER_KIND_DOCKER",
      state: "PROVIDER_STATE_ACTIVE",
      health: "PROVIDER_HEALTH_UNKNOWN",
      healthTime: undefined,
      reserved: { slots: 0, cpuMillis: 0, memoryMib: 0 },
      labels: { zone: "a" },
      endpoint: "unix:///var/run/docker.sock",
      etag: "1",
    });
    expect(await service.users.getProvider({ provider: "docker-1" })).toEqual({ provider });
    expect(await service.users.getProvider({ provider: provider?.id.toUpperCase() ?? "" })).toEqual({ provider });
    const [fact] = await service.factsOf(provider?.id ?? "");
    expect(fact).toMatchObject({ noun: "provider", event: "registered", sequence: 1 });
    expect(fact?.data).not.toHaveProperty("provider.endpoint");
  });

  test("the same again is answered as it stands, anything else is refused", async () => {
    const { provider } = await register();
    expect(await register()).toEqual({ provider, existed: true });
    const refusal = {
      code: "ALREADY_EXISTS",
      reason: "PROVIDER_EXISTS",
      resource: { type: "provider", name: "docker-1" },
    };
    await expect(register({ labels: {} })).rejects.toMatchObject(refusal);
    await expect(register({ endpoint: "" })).rejects.toMatchObject(refusal);
    expect(await eventsOf(provider?.id ?? "")).toEqual(["registered"]);
  });

  test("at once by many makes one", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => register()));
    expect(new Set(answers.map(({ provider }) => provider?.id)).size).toBe(1);
    expect(answers.filter(({ existed }) => !existed)).toHaveLength(1);
  });

  test("is refused with every bad field at once", async () => {
    const bad = register({
      name: "A\u0000",
      kind: "UNRECOGNIZED",
      capacity: amount(0),
      labels: { "": "" },
      endpoint: "x",
    });
    await expect(bad).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS" });
    const { fields } = (await bad.catch((error: unknown) => error)) as { fields: { field: string }[] };
    expect(fields.map(({ field }) => field)).toEqual(["name", "kind", "capacity.slots", 'labels[""]', "endpoint"]);
  });

  test("takes label keys that every object has, and refuses __proto__", async () => {
    const { provider } = await register({ labels: { constructor: "a", tostring: "b" } });
    expect(provider?.labels).toEqual({ constructor: "a", tostring: "b" });
    const labels = JSON.parse('{"__proto__":"x"}');
    const request = { ...aRegistration({ name: "other" }), labels };
    await expect(service.users.registerProvider(request)).rejects.toThrow('labels["__proto__"]: keys must match');
  });
});

test("a provider that is not there is NOT_FOUND, whatever it is called", async () => {
  for (const provider of ["none", uuidv7(), "a\u0000b", "'; drop table provider; --", "x".repeat(100_000), "../x"]) {
    await expect(service.users.getProvider({ provider })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(service.users.drainProvider({ provider })).rejects.toMatchObject({ reason: "PROVIDER_NOT_FOUND" });
  }
  await expect(service.users.getProvider({ provider: "" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

describe("listing", () => {
  test("gives every provider once, in pages by name, and ends", async () => {
    const all = Array.from({ length: 7 }, (_, index) => `p${index}`);
    for (const name of all) await register({ name });
    const seen: string[][] = [];
    let pageToken = "";
    do {
      const page = await service.users.listProviders({ filter: "", pageSize: 3, pageToken });
      seen.push(page.providers.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual([all.slice(0, 3), all.slice(3, 6), all.slice(6)]);
  });

  test("refuses a page token of another filter, garbage and a negative size", async () => {
    for (const name of ["a", "b"]) await register({ name });
    const { nextPageToken } = await service.users.listProviders({ filter: "", pageSize: 1, pageToken: "" });
    const list = (pageToken: string, filter = "", pageSize = 1) =>
      service.users.listProviders({ filter, pageSize, pageToken });
    await expect(list(nextPageToken, 'name = "a"')).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(list("%%%")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(list("", "", -1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await list(nextPageToken)).providers.map(({ name }) => name)).toEqual(["b"]);
  });

  test("filters by name, kind, state, health and labels", async () => {
    await register({ name: "a", labels: { team: "red", tier: "1" } });
    await register({ name: "b", labels: { team: "blue" } });
    await service.ready("c", 1);
    await service.users.cordonProvider({ provider: "b" });
    expect(await names('name = "a"')).toEqual(["a"]);
    expect(await names("kind = PROCESS")).toEqual(["c"]);
    expect(await names("state = CORDONED OR health = HEALTHY")).toEqual(["b", "c"]);
    expect(await names('labels.team = "red"')).toEqual(["a"]);
    expect(await names("labels.team:* AND NOT labels.tier:*")).toEqual(["b"]);
    await expect(names("state = RUNNING")).rejects.toMatchObject({ fields: [{ field: "filter" }] });
    await expect(names('colour = "red"')).rejects.toMatchObject({ fields: [{ field: "filter" }] });
  });

  test("text that looks like SQL is only text", async () => {
    await register({ name: "a", labels: { team: "it's; drop table provider; --" } });
    expect(await names(`name = "a' or '1'='1"`)).toEqual([]);
    expect(await names(`labels.team = "it's; drop table provider; --"`)).toEqual(["a"]);
    expect(await names(`name = "'; drop table provider; --"`)).toEqual([]);
    await expect(names("name = 'a'; drop table provider")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(names('name = "a\u0000"')).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await names("")).toEqual(["a"]);
  });
});

describe("updating", () => {
  const update = (fields: Partial<UpdateProviderRequest>) =>
    service.users.updateProvider({
      provider: "docker-1",
      capacity: undefined,
      labels: {},
      endpoint: "",
      updateMask: undefined,
      etag: "",
      ...fields,
    });

  test("changes what the mask names and nothing else", async () => {
    const { provider } = await register();
    const change = {
      provider: "docker-1",
      labels: { zone: "b" },
      endpoint: "ignored",
      etag: "1",
      updateMask: ["labels"],
    };
    const { provider: after } = await update(change);
    expect(after).toMatchObject({ labels: { zone: "b" }, endpoint: provider?.endpoint, etag: "2" });
    expect(after?.updateTime?.getTime()).toBeGreaterThan(provider?.updateTime?.getTime() ?? 0);
    expect((await service.users.getProvider({ provider: "docker-1" })).provider).toEqual(after);
    expect(await eventsOf(after?.id ?? "")).toEqual(["registered", "updated"]);
  });

  test("is refused with an old etag, an unknown field and bad values", async () => {
    await register();
    const change = { endpoint: "", updateMask: ["endpoint"] };
    await expect(update({ ...change, etag: "0" })).rejects.toMatchObject({
      code: "ABORTED",
      reason: "PROVIDER_CHANGED",
    });
    await expect(update({ ...change, updateMask: ["name"] })).rejects.toMatchObject({
      fields: [{ field: "update_mask" }],
    });
    await expect(update({ ...change, updateMask: [] })).rejects.toMatchObject({ fields: [{ field: "update_mask" }] });
    const bad = { ...change, endpoint: "ftp://x", updateMask: ["endpoint", "capacity"] };
    await expect(update(bad)).rejects.toMatchObject({ fields: [{ field: "capacity.slots" }, { field: "endpoint" }] });
  });

  test("cannot take away capacity that is reserved", async () => {
    await service.ready("local", 10);
    await service.orchestrator.reserveCapacity({ requests: requests(4), validateOnly: false });
    const shrink = (slots: number) => update({ provider: "local", capacity: amount(slots), updateMask: ["capacity"] });
    await expect(shrink(3)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "CAPACITY_IN_USE" });
    expect((await shrink(4)).provider?.capacity).toMatchObject({ slots: 4 });
  });

  test("by two operators at once loses no change", async () => {
    await register();
    const change = (zone: string) => update({ labels: { zone }, etag: "1", updateMask: ["labels"] });
    const outcomes = await Promise.allSettled([change("b"), change("c"), change("d")]);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("moving", () => {
  test("follows the wishes of operators and leaves a fact for each move", async () => {
    const id = await service.ready("local", 10);
    const provider = "local";
    await service.users.cordonProvider({ provider });
    await service.users.cordonProvider({ provider });
    await service.users.uncordonProvider({ provider });
    await service.users.drainProvider({ provider });
    await service.users.drainProvider({ provider });
    await expect(service.users.uncordonProvider({ provider })).rejects.toMatchObject({ reason: "WRONG_STATE" });
    await service.users.activateProvider({ provider });
    const { provider: after } = await service.users.deactivateProvider({ provider });
    expect(after?.state).toBe("PROVIDER_STATE_DISABLED");
    expect((await eventsOf(id)).slice(2)).toEqual([
      "cordoned",
      "activated",
      "draining",
      "drained",
      "activated",
      "deactivated",
    ]);
  });

  test("a provider in use is neither deactivated nor deleted; an empty one is forgotten for good", async () => {
    const id = await service.ready("local", 10);
    const batch = requests(3);
    await service.orchestrator.reserveCapacity({ requests: batch, validateOnly: false });
    const refusal = { code: "FAILED_PRECONDITION", reason: "PROVIDER_IN_USE", metadata: { liveReservations: "3" } };
    await expect(service.users.deleteProvider({ provider: id })).rejects.toMatchObject(refusal);
    await expect(service.users.deactivateProvider({ provider: id })).rejects.toMatchObject(refusal);
    await service.orchestrator.releaseReservations({ reservationIds: idsOf(batch) });
    await service.users.deleteProvider({ provider: id });
    await expect(service.users.getProvider({ provider: id })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await service.factsOf(id)).at(-1)).toMatchObject({ event: "deleted", isTerminal: true });
    const { answers } = await service.orchestrator.reserveCapacity({ requests: batch, validateOnly: false });
    expect(answers[0]?.outcome?.value).toMatchObject({ reason: "REASON_OPERATOR" });
    expect((await register({ name: "local" })).existed).toBe(false);
  });
});

describe("probes", () => {
  const report = (providerId: string, isGood: boolean, message = "") =>
    service.orchestrator.reportHealth({ observations: [{ providerId, isGood, message }] });
  const healthOf = async (provider: string) => (await service.users.getProvider({ provider })).provider?.health;

  test("make a provider UNHEALTHY after three failures in a row, and HEALTHY again", async () => {
    const id = await service.ready("local", 1);
    const seen: unknown[] = [];
    for (const isGood of [false, false, false, false, true]) {
      await report(id, isGood, isGood ? "27.1" : "no route\n\u0000to host");
      seen.push(await healthOf(id));
    }
    const health = (word: string) => `PROVIDER_HEALTH_${word}`;
    expect(seen).toEqual(["DEGRADED", "DEGRADED", "UNHEALTHY", "UNHEALTHY", "HEALTHY"].map(health));
    const facts = (await service.factsOf(id)).filter(({ event }) => event === "health_changed");
    expect(facts.map(({ data }) => (data as { oldHealth: string }).oldHealth)).toEqual(
      ["UNKNOWN", "HEALTHY", "DEGRADED", "UNHEALTHY"].map(health),
    );
    expect(facts[2]?.data).toMatchObject({ provider: { healthMessage: "no route  to host" } });
  });

  test("that see nothing new write nothing", async () => {
    const id = await service.ready("local", 1);
    const rowVersion = async () => (await service.pool.query("select xmin, xmax from provider")).rows;
    const before = await rowVersion();
    await report(id, true);
    await report(uuidv7(), true);
    expect(await rowVersion()).toEqual(before);
  });

  test("in one report count in their order", async () => {
    const id = await service.ready("local", 1);
    const failed = { providerId: id, isGood: false, message: "" };
    await service.orchestrator.reportHealth({ observations: [failed, failed, failed] });
    expect(await healthOf(id)).toBe("PROVIDER_HEALTH_UNHEALTHY");
    expect((await service.factsOf(id)).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  });

  test("are asked of every provider of a runner's kinds that is not DISABLED", async () => {
    const local = await service.ready("local", 1);
    const { provider: docker } = await register();
    const targets = async (...kinds: `PROVIDER_KIND_${"PROCESS" | "DOCKER" | "WORKER"}`[]) =>
      (await service.orchestrator.listProbeTargets({ kinds })).targets;
    expect(await targets("PROVIDER_KIND_DOCKER")).toEqual([
      { providerId: docker?.id, name: "docker-1", kind: "PROVIDER_KIND_DOCKER", endpoint: docker?.endpoint },
    ]);
    expect(await targets("PROVIDER_KIND_DOCKER", "PROVIDER_KIND_PROCESS")).toHaveLength(2);
    await service.users.deactivateProvider({ provider: local });
    expect(await targets("PROVIDER_KIND_PROCESS")).toEqual([]);
    await service.report({ name: "pool" });
    expect(await targets("PROVIDER_KIND_WORKER")).toEqual([]);
  });
});

test("the migrations go up, down and up again", async () => {
  const database = await createTestDatabase("provider");
  const options = { url: database.url, schema: "provider", directory: new URL("../migrations/", import.meta.url) };
  const tables = async () =>
    (
      await queryOnce(database.adminUrl, "select tablename from pg_tables where schemaname = 'provider' order by 1")
    ).map((row) => row["tablename"]);
  await migrate(options);
  const up = await tables();
  expect(up).toContain("reservation");
  await queryOnce(
    database.adminUrl,
    `insert into provider.provider (id, tenant, name, kind, slots, cpu_millis, memory_mib, pool_time)
     values (gen_random_uuid(), 'default', 'pool', 'WORKER', 0, 0, 0, now())`,
  );
  await migrate({ ...options, direction: "down" });
  const pools = await queryOnce(database.adminUrl, "select name from provider.provider");
  expect(pools).toEqual([]);
  await migrate({ ...options, direction: "reset" });
  expect(await tables()).not.toContain("reservation");
  await migrate(options);
  expect(await tables()).toEqual(up);
  await database.drop();
});
