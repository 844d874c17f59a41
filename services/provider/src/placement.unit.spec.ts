import type { LabelConstraint } from "@capstan/labels";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aProvider } from "./aProvider.ts";
import { type Placed, placeAll, type Unplaced } from "./placement.ts";
import type { Wanted } from "./placementFilters.ts";
import type { Provider } from "./provider.ts";
import type { Amount } from "./providerSpec.ts";

const none: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map();

function wanted(fields: Partial<Wanted> = {}): Wanted {
  return {
    jobName: "job",
    amount: { slots: 1, cpuMillis: 0, memoryMib: 0 },
    needsImage: false,
    handler: "",
    providerName: "",
    kind: "",
    constraints: [],
    strategy: "LEAST_LOADED",
    spreadLabel: "",
    ...fields,
  };
}

/** A provider of ten slots of which `used` are reserved. */
function named(name: string, used = 0, fields: Partial<Provider> = {}): Provider {
  return aProvider({ id: name, name, reserved: { slots: used, cpuMillis: 0, memoryMib: 0 }, ...fields });
}

const isPlaced = (answer: Placed | Unplaced | undefined): answer is Placed =>
  answer !== undefined && "provider" in answer;
const chosen = (providers: readonly Provider[], requests: readonly Wanted[], counts = none) =>
  placeAll(providers, requests, counts).map((answer) => (isPlaced(answer) ? answer.provider.name : answer.reason));

function refused(providers: readonly Provider[], request: Wanted): Unplaced {
  const [answer] = placeAll(providers, [request], none);
  if (answer === undefined || isPlaced(answer)) throw new Error("was placed");
  return answer;
}

describe("strategies choose differently among the same providers", () => {
  const providers = [
    named("a", 5, { lastChosen: 1, labels: { zone: "x" } }),
    named("b", 2, { lastChosen: 7, labels: { zone: "x" } }),
    named("c", 9, { lastChosen: 3, labels: { zone: "y" } }),
    named("d", 3, { lastChosen: 9, labels: { zone: "y" } }),
  ];
  const counts = new Map([
    [
      "job",
      new Map([
        ["a", 1],
        ["b", 2],
        ["c", 1],
        ["d", 0],
      ]),
    ],
  ]);

  test("least loaded takes the one with the smallest share in use", () => {
    expect(placeAll(providers, [wanted()], none)).toMatchObject([
      { provider: { name: "b" }, score: 0.8, message: "least loaded: 20 % in use" },
    ]);
  });

  test("bin packing takes the fullest one that still fits", () => {
    expect(chosen(providers, [wanted({ strategy: "BIN_PACKING" })])).toEqual(["c"]);
    const amount = { slots: 2, cpuMillis: 0, memoryMib: 0 };
    expect(chosen(providers, [wanted({ strategy: "BIN_PACKING", amount })])).toEqual(["a"]);
  });

  test("round robin takes the one that was chosen longest ago, and each in its turn", () => {
    const four = Array.from({ length: 5 }, () => wanted({ strategy: "ROUND_ROBIN" }));
    expect(chosen(providers, four)).toEqual(["a", "c", "b", "d", "a"]);
  });

  test("spread takes the one with the fewest reservations of the same job name", () => {
    expect(chosen(providers, [wanted({ strategy: "SPREAD" })], counts)).toEqual(["d"]);
    expect(chosen(providers, [wanted({ strategy: "SPREAD", jobName: "other" })], counts)).toEqual(["b"]);
  });

  test("spread by a label fills its values evenly, whatever provider they are on", () => {
    const request = wanted({ strategy: "SPREAD", spreadLabel: "zone" });
    expect(chosen(providers, [request, request, request, request], counts)).toEqual(["d", "d", "b", "d"]);
  });

  test("a choice counts for the next one in the batch", () => {
    expect(chosen([named("a", 1), named("b")], [wanted(), wanted(), wanted(), wanted()])).toEqual(["b", "a", "b", "a"]);
  });

  test("every score is from 0 to 1", () => {
    for (const strategy of ["LEAST_LOADED", "BIN_PACKING", "ROUND_ROBIN", "SPREAD"] as const) {
      const [answer] = placeAll(providers, [wanted({ strategy })], counts);
      expect(isPlaced(answer) && answer.score >= 0 && answer.score <= 1, strategy).toBe(true);
    }
  });
});

describe("each filter refuses what it is for", () => {
  const docker = { kind: "DOCKER" } as const;
  const cases: readonly [filter: string, Unplaced["reason"], Partial<Provider>, Partial<Wanted>, says: string][] = [
    ["STATE", "NO_PROVIDER_MATCHES", { state: "CORDONED" }, {}, "is CORDONED, only ACTIVE takes new work"],
    ["STATE", "NO_PROVIDER_MATCHES", { state: "DRAINING", health: "UNHEALTHY" }, {}, "is DRAINING"],
    ["HEALTH", "PROVIDER_UNHEALTHY", { health: "UNKNOWN" }, {}, "not probed yet"],
    ["HEALTH", "PROVIDER_UNHEALTHY", { health: "UNHEALTHY", healthMessage: "no route" }, {}, "is UNHEALTHY: no route"],
    ["HEALTH", "NO_PROVIDER_MATCHES", { health: "UNHEALTHY", ...docker }, {}, "is UNHEALTHY"],
    ["KIND", "NO_PROVIDER_MATCHES", docker, {}, "is docker, a step without an image runs as a process"],
    ["KIND", "NO_PROVIDER_MATCHES", {}, { needsImage: true }, "is process, a step with an image needs containers"],
    ["KIND", "NO_PROVIDER_MATCHES", {}, { kind: "docker" }, 'is process, not "docker"'],
    ["KIND", "NO_PROVIDER_MATCHES", docker, { kind: "docker" }, "a step without an image runs as a process"],
    ["NAME", "NO_PROVIDER_MATCHES", {}, { providerName: "other" }, 'is not "other"'],
    [
      "LABELS",
      "NO_PROVIDER_MATCHES",
      { labels: { zone: "a" } },
      { constraints: [label("zone", "EQ", "b")] },
      'has "a"',
    ],
    ["LABELS", "NO_PROVIDER_MATCHES", {}, { constraints: [label("zone", "EQ", "b")] }, "has no such label"],
    ["SLOTS", "NO_CAPACITY", { reserved: amount(9) }, { amount: amount(2) }, "needs 2 slots, 1 of 10 are free"],
    ["SLOTS", "NO_CAPACITY", {}, { amount: amount(11) }, "needs 11 slots, holds 10 in all: it can never fit"],
    ["CPU", "NO_CAPACITY", {}, { amount: amount(1, 4_001) }, "holds 4000 in all: it can never fit"],
    ["MEMORY", "NO_CAPACITY", { capacity: amount(1, 0, 512) }, { amount: amount(1, 0, 513) }, "it can never fit"],
  ];
  for (const [filter, reason, provider, request, says] of cases) {
    test(`${filter}: ${says}`, () => {
      const answer = refused([aProvider({ ...provider })], wanted(request));
      expect(answer).toMatchObject({ reason, failures: [{ providerName: "local", filter }] });
      expect(answer.failures[0]?.message).toContain(says);
    });
  }

  test("a provider that is DEGRADED still takes work", () => {
    expect(chosen([named("a", 0, { health: "DEGRADED" })], [wanted()])).toEqual(["a"]);
  });

  test("the kind is not sensitive to case, and its containers need an image", () => {
    const providers = [named("a"), named("b", 0, docker)];
    const requests = [
      wanted({ kind: "Process" }),
      wanted({ needsImage: true, kind: "DOCKER" }),
      wanted({ needsImage: true }),
    ];
    expect(chosen(providers, requests)).toEqual(["a", "b", "b"]);
  });

  test("CPU and memory are not counted where a provider has none of them", () => {
    const uncounted = named("a", 0, { capacity: { slots: 1, cpuMillis: 0, memoryMib: 0 } });
    expect(chosen([uncounted], [wanted({ amount: amount(1, 64_000, 1_000_000) })])).toEqual(["a"]);
  });
});

describe("a step with a handler", () => {
  const group = (handlers: string[], labels: Record<string, string> = {}) => ({
    handlers,
    labels,
    workers: 1,
    slots: 5,
  });
  const pool = (name: string, fields: Partial<Provider> = {}) =>
    named(name, 0, { kind: "WORKER", workerGroups: [group(["resize", "crop"])], ...fields });
  const resize = (fields: Partial<Wanted> = {}) => wanted({ handler: "resize", ...fields });
  const saying = (provider: Provider, request: Wanted) => refused([provider], request).failures[0];

  test("is placed on a pool that has a worker with it, and nowhere else", () => {
    const providers = [
      named("a"),
      named("b", 0, { kind: "DOCKER" }),
      pool("c", { workerGroups: [group(["x"])] }),
      pool("d"),
    ];
    expect(chosen(providers, [resize(), resize({ kind: "worker" }), resize({ providerName: "d" })])).toEqual([
      "d",
      "d",
      "d",
    ]);
    expect(saying(named("a"), resize())).toMatchObject({
      filter: "KIND",
      message: "is process, a step with a handler runs on workers",
    });
  });

  test("is the only one that a pool takes", () => {
    const kind = { filter: "KIND" };
    expect(saying(pool("a"), wanted())).toMatchObject({
      ...kind,
      message: "is worker, a step without an image runs as a process",
    });
    expect(saying(pool("a"), wanted({ kind: "worker" }))).toMatchObject(kind);
    expect(saying(pool("a"), wanted({ needsImage: true }))).toMatchObject(kind);
  });

  test("reads what a pool without it has instead", () => {
    expect(saying(pool("a"), wanted({ handler: "rotate" }))).toEqual({
      providerName: "a",
      filter: "HANDLER",
      message: 'has no worker with the handler "rotate"; it has: "resize", "crop"',
    });
    expect(refused([pool("a")], wanted({ handler: "toString" })).reason).toBe("NO_PROVIDER_MATCHES");
  });

  test("reads of a pool without workers that it is not well, whatever it will have", () => {
    const empty = pool("a", { workerGroups: [], health: "UNHEALTHY", healthMessage: "no worker is connected" });
    const answer = refused([empty], resize({ constraints: [label("zone", "EQ", "b")] }));
    expect(answer.reason).toBe("PROVIDER_UNHEALTHY");
    expect(answer.message).toBe("no provider that matches is healthy: a is UNHEALTHY: no worker is connected");
  });

  test("compares its constraints with the labels of each group that has it, and with no others", () => {
    const provider = pool("a", {
      labels: { zone: "a" },
      workerGroups: [group(["resize"], { zone: "b" }), group(["resize", "crop"]), group(["crop"], { gpu: "yes" })],
    });
    const choice = (...constraints: LabelConstraint[]) => chosen([provider], [resize({ constraints })])[0];
    expect(choice(label("zone", "EQ", "b"))).toBe("a");
    expect(choice(label("zone", "EQ", "a"))).toBe("NO_PROVIDER_MATCHES");
    expect(choice(label("gpu", "EQ", "yes"))).toBe("NO_PROVIDER_MATCHES");
    const crop = { handler: "crop", constraints: [label("zone", "EQ", "b"), label("gpu", "EQ", "yes")] };
    expect(saying(provider, wanted(crop))).toEqual({
      providerName: "a",
      filter: "LABELS",
      message: 'wants "zone" EQ "b" and "gpu" EQ "yes", has no such worker with the handler "crop"',
    });
  });

  test("names the label that is missing where only one group has it", () => {
    const request = resize({ constraints: [label("zone", "EQ", "b")] });
    expect(saying(pool("a"), request)?.message).toBe('wants "zone" EQ "b", has no such label');
  });

  test("waits where more is in use than there is since workers left", () => {
    const shrunk = pool("a", { capacity: amount(2), reserved: amount(5) });
    expect(refused([shrunk], resize())).toMatchObject({
      reason: "NO_CAPACITY",
      failures: [{ filter: "SLOTS", message: "needs 1 slots, 0 of 2 are free" }],
    });
    expect(chosen([shrunk, pool("b", { capacity: amount(1) })], [resize(), resize()])).toEqual(["b", "NO_CAPACITY"]);
  });
});

describe("a refusal", () => {
  test("names what is registered when a provider or a kind is asked for that is not there", () => {
    const providers = [named("a"), named("b", 0, { kind: "DOCKER" })];
    const message = (request: Partial<Wanted>) => refused(providers, wanted(request)).message;
    expect(message({ providerName: "c" })).toBe('no provider is named "c"; there are: a (process), b (docker)');
    expect(message({ kind: "podman" })).toContain(
      '"podman" is no kind of provider, a kind is process, docker or worker',
    );
    expect(refused([], wanted())).toMatchObject({
      reason: "NO_PROVIDER_MATCHES",
      message: "no provider is registered",
    });
  });

  test("says it is full rather than unhealthy, and unhealthy rather than that nothing matches", () => {
    const full = named("full", 10);
    const ill = named("ill", 0, { health: "UNHEALTHY" });
    const wrong = named("wrong", 0, { kind: "DOCKER" });
    expect(refused([wrong, ill, full], wanted()).reason).toBe("NO_CAPACITY");
    expect(refused([wrong, ill], wanted()).reason).toBe("PROVIDER_UNHEALTHY");
    expect(refused([wrong], wanted()).reason).toBe("NO_PROVIDER_MATCHES");
  });

  test("lists the nearest misses first and at most 20 of them", () => {
    const wrong = Array.from({ length: 30 }, (_, index) => named(`w${index}`, 0, { state: "DISABLED" }));
    const { failures, message } = refused([...wrong, named("z-full", 10)], wanted());
    expect(failures).toHaveLength(20);
    expect(failures[0]).toEqual({
      providerName: "z-full",
      filter: "SLOTS",
      message: "needs 1 slots, 0 of 10 are free",
    });
    expect(message).toContain("and 26 more");
  });

  test("stays short and on one line whatever was asked for", () => {
    const { message } = refused([named("a")], wanted({ providerName: "x\n\u0000".repeat(10_000) }));
    expect(message.length).toBeLessThan(700);
    expect(message).not.toContain("\n");
  });
});

test("no batch takes more than there is, and a refusal for capacity means that nothing fits", () => {
  const providers = fc.uniqueArray(
    fc.record({
      name: fc.constantFrom("a", "b", "c", "d", "e"),
      capacity: fc.record({
        slots: fc.integer({ min: 1, max: 8 }),
        cpuMillis: fc.constantFrom(0, 1_000),
        memoryMib: fc.constantFrom(0, 512),
      }),
      used: fc.nat(3),
      state: fc.constantFrom("ACTIVE", "CORDONED"),
      health: fc.constantFrom("HEALTHY", "UNKNOWN"),
    }),
    { selector: ({ name }) => name },
  );
  const requests = fc.array(
    fc.record({
      slots: fc.integer({ min: 1, max: 3 }),
      cpuMillis: fc.constantFrom(0, 300),
      memoryMib: fc.constantFrom(0, 200),
      strategy: fc.constantFrom("LEAST_LOADED", "BIN_PACKING", "ROUND_ROBIN", "SPREAD"),
      jobName: fc.constantFrom("x", "y"),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(providers, requests, (specs, wants) => {
      const there = specs.map(({ name, capacity, used, state, health }) =>
        named(name, Math.min(used, capacity.slots), { capacity, state, health }),
      );
      const asked = wants.map(({ strategy, jobName, ...amount }) => wanted({ strategy, jobName, amount }));
      const reserved = new Map(there.map(({ id, reserved }) => [id, { ...reserved }]));
      for (const [index, answer] of placeAll(there, asked, none).entries()) {
        const { amount } = asked[index] ?? wanted();
        const takers = there.filter(
          (provider) => takesWork(provider) && fits(provider, reserved.get(provider.id), amount),
        );
        expect(isPlaced(answer)).toBe(takers.length > 0);
        if (!isPlaced(answer)) continue;
        expect(takers).toContain(answer.provider);
        add(reserved.get(answer.provider.id), amount);
      }
    }),
    { numRuns: 500 },
  );
});

const takesWork = ({ state, health }: Provider) => state === "ACTIVE" && health === "HEALTHY";

function fits({ capacity }: Provider, used: Amount | undefined, more: Amount): boolean {
  if (used === undefined) return false;
  const has = (of: keyof Amount) => (of !== "slots" && capacity[of] === 0) || used[of] + more[of] <= capacity[of];
  return has("slots") && has("cpuMillis") && has("memoryMib");
}

function add(used: { slots: number; cpuMillis: number; memoryMib: number } | undefined, more: Amount): void {
  if (used === undefined) return;
  used.slots += more.slots;
  used.cpuMillis += more.cpuMillis;
  used.memoryMib += more.memoryMib;
}

function amount(slots: number, cpuMillis = 0, memoryMib = 0): Amount {
  return { slots, cpuMillis, memoryMib };
}

function label(key: string, operator: string, ...values: string[]): LabelConstraint {
  return { key, operator, values };
}
