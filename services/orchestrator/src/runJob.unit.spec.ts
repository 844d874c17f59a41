import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  advance,
  advanceAll,
  type Happened,
  holdSecondsOf,
  isEnded,
  newsOf,
  type Outcome,
  type Saga,
  type Stage,
  sagaId,
  type Verb,
} from "./runJob.ts";

const placed = { providerId: "p1", providerName: "local", kind: "PROVIDER_KIND_PROCESS", endpoint: "" };
const succeeded: Outcome = {
  type: "SUCCEEDED",
  reason: "UNSPECIFIED",
  message: "",
  exitCode: 0,
  result: undefined,
  startTime: null,
  time: null,
};
const cancelled: Happened = { type: "cancelled", reason: "CANCELLED_BY_USER", message: "enough" };

function aSaga(fields: Partial<Saga> = {}): Saga {
  return {
    id: sagaId("job", "main", 1),
    tenant: "default",
    jobId: "job",
    jobName: "a job",
    step: "main",
    attempt: 1,
    priority: 0,
    spec: StepSpec.fromPartial({ command: ["true"] }),
    traceparent: null,
    readyTime: new Date(0),
    placementKey: "any process",
    ...{ queue: "default", concurrencyKey: "", deadlineTime: null, orderTime: new Date(0) },
    stage: "WAITING",
    reason: "QUEUED",
    message: "",
    placed: null,
    outcome: null,
    failures: 0,
    parkedStage: null,
    version: 1,
    sequence: 0,
    wakeInMs: 0,
    ...fields,
  };
}

/** The stage after each thing that happened, and every command asked for on the way. */
function story(happened: readonly Happened[], saga = aSaga()): { stages: Stage[]; asked: string[]; saga: Saga } {
  const stages: Stage[] = [];
  const asked: string[] = [];
  let after = saga;
  for (const each of happened) {
    const next = advance(after, each);
    after = next.saga;
    stages.push(after.stage);
    asked.push(
      ...next.commands.map((command) => (command.type === "report" ? `report ${command.outcome.type}` : command.type)),
    );
  }
  return { stages, asked, saga: after };
}

it("an attempt that goes well is held, started, told of and given back", () => {
  const { stages, asked } = story([
    { type: "held", placed },
    { type: "started", time: null },
    { type: "ended", outcome: succeeded },
    { type: "told" },
  ]);
  expect(stages).toEqual(["RESERVED", "STARTED", "SETTLING", "DONE"]);
  expect(asked).toEqual(["start", "confirm", "report STARTED", "report SUCCEEDED", "release"]);
});

it("when telling of a start and an end that arrived together has failed, the end is told again and with it the start", () => {
  const saga = aSaga({ stage: "RESERVED", placed });
  const time = "2026-01-01T00:00:00.000Z";
  const settling = advanceAll(saga, [
    { type: "started", time },
    { type: "ended", outcome: { ...succeeded, startTime: time } },
    { type: "commandFailed", message: "no connection" },
  ]);
  const { commands } = advance(settling.saga, { type: "overdue" });
  expect(commands).toMatchObject([
    { type: "report", outcome: { type: "SUCCEEDED", startTime: time } },
    { type: "release" },
  ]);
});

it("an end whose start nobody has told of tells when it began", () => {
  const saga = aSaga({ stage: "RESERVED", placed });
  const startTime = "2026-01-01T00:00:00.000Z";
  const { commands } = advance(saga, { type: "ended", outcome: { ...succeeded, startTime } });
  expect(commands).toMatchObject([{ type: "report", outcome: { type: "SUCCEEDED", startTime } }, { type: "release" }]);
});

it("a start and an end that arrive together need no confirmation of the capacity", () => {
  const saga = aSaga({ stage: "RESERVED", placed });
  const { commands } = advanceAll(saga, [
    { type: "started", time: null },
    { type: "ended", outcome: succeeded },
  ]);
  expect(commands.map(({ type }) => type)).toEqual(["report", "report", "release"]);
});

it.each([
  [300, 2_100],
  [7_200, 9_000],
  [86_400, 86_400],
])("capacity for a start that may take %d s is held for %d s, because it must not expire before", (seconds, held) => {
  expect(holdSecondsOf(aSaga({ spec: StepSpec.fromPartial({ startTimeout: { seconds } }) }))).toBe(held);
});

it("one that finds no place tells why, once", () => {
  const why: Happened = { type: "notPlaced", reason: "NO_CAPACITY", message: "local is full" };
  const { stages, asked } = story([why, why]);
  expect(stages).toEqual(["WAITING", "WAITING"]);
  expect(asked).toEqual(["report WAITING"]);
});

describe("a cancel", () => {
  it("of one that waits settles at once", () => {
    const { stages, asked } = story([cancelled, { type: "told" }]);
    expect(stages).toEqual(["SETTLING", "COMPENSATED"]);
    expect(asked).toEqual(["report CANCELLED", "release"]);
  });
  it.each(["RESERVED", "STARTED"] as const)("of one that is %s stops it and waits for the confirmed end", (stage) => {
    const stopped: Outcome = { ...succeeded, type: "CANCELLED", reason: "CANCELLED_BY_USER", exitCode: null };
    const { stages, asked } = story(
      [cancelled, { type: "ended", outcome: stopped }, { type: "told" }],
      aSaga({ stage, placed }),
    );
    expect(stages).toEqual(["COMPENSATING", "SETTLING", "COMPENSATED"]);
    expect(asked).toEqual(["stop", "report CANCELLED", "release"]);
  });
  it("that loses the race against success reports the success", () => {
    const { asked } = story([cancelled, { type: "ended", outcome: succeeded }], aSaga({ stage: "STARTED", placed }));
    expect(asked).toEqual(["stop", "report SUCCEEDED", "release"]);
  });
  it("that comes before an answer to the reservation lets the answer change nothing", () => {
    const { stages, asked } = story([cancelled, { type: "told" }, { type: "held", placed }]);
    expect(stages.at(-1)).toBe("COMPENSATED");
    expect(asked).toEqual(["report CANCELLED", "release"]);
  });
});

it("one whose command is refused for good is parked, and its step says what it waits for", () => {
  const { saga, commands } = advance(aSaga({ stage: "RESERVED", placed }), { type: "commandRefused", message: "no" });
  expect(saga).toMatchObject({ stage: "PARKED", parkedStage: "RESERVED", reason: "COMMAND_REFUSED", message: "no" });
  const outcome = { type: "WAITING", reason: "COMMAND_REFUSED", message: "no" };
  expect(commands).toEqual([{ type: "report", outcome }]);
});

describe("a parked saga", () => {
  const parked = aSaga({ stage: "PARKED", parkedStage: "RESERVED", placed });
  it("goes on from its stage when it is retried", () => {
    expect(story([{ type: "retried" }], parked)).toMatchObject({ stages: ["RESERVED"], asked: ["start"] });
  });
  it("is stopped and reported as skipped when it is skipped", () => {
    const { stages, asked } = story(
      [{ type: "skipped" }, { type: "ended", outcome: succeeded }, { type: "told" }],
      parked,
    );
    expect(stages).toEqual(["COMPENSATING", "SETTLING", "COMPENSATED"]);
    expect(asked).toEqual(["stop", "report SKIPPED", "release"]);
  });
  it("that ends all the same is settled, and is parked no longer", () => {
    const { stages, saga } = story([{ type: "ended", outcome: succeeded }], parked);
    expect({ stages, parkedStage: saga.parkedStage }).toEqual({ stages: ["SETTLING"], parkedStage: null });
  });
  it("that could not tell its end is not stopped once more when it is skipped or its job is cancelled", () => {
    const ended = { ...parked, parkedStage: "SETTLING", outcome: succeeded } as const;
    expect(story([{ type: "skipped" }], ended).asked).toEqual(["report SKIPPED", "release"]);
    expect(story([cancelled], ended).asked).toEqual(["report CANCELLED", "release"]);
  });
  it("that another operator has moved meanwhile is left alone", () => {
    const moved = aSaga({ stage: "STARTED", placed });
    for (const type of ["retried", "skipped", "compensated"] as const) {
      expect(advance(moved, { type })).toEqual({ saga: moved, commands: [] });
    }
  });
  it("that was never placed is told of at once when it is compensated", () => {
    const { stages, asked } = story([{ type: "compensated" }], aSaga({ stage: "PARKED", parkedStage: "WAITING" }));
    expect({ stages, asked }).toEqual({ stages: ["SETTLING"], asked: ["report FAILED", "release"] });
  });
});

it("a stop that fails keeps what it was given to say", () => {
  const { saga } = advance(aSaga({ stage: "STARTED", placed }), cancelled);
  expect(advance(saga, { type: "commandFailed", message: "gone" }).saga).toMatchObject({
    failures: 1,
    message: "enough",
  });
});

describe("a saga that an operator forces", () => {
  const forced = { type: "forced" } as const;
  it("settles without its end, and gives back what it held", () => {
    for (const stage of ["RESERVED", "STARTED"] as const) {
      const { stages, asked } = story([forced, { type: "told" }], aSaga({ stage, placed }));
      expect({ stages, asked }).toEqual({ stages: ["SETTLING", "COMPENSATED"], asked: ["report FAILED", "release"] });
    }
  });
  it("tells the cancel that was under way", () => {
    const stopping = advance(aSaga({ stage: "STARTED", placed }), cancelled).saga;
    expect(story([forced, { type: "told" }], stopping)).toMatchObject({
      stages: ["SETTLING", "COMPENSATED"],
      asked: ["report CANCELLED", "release"],
    });
  });
  it("tells what an operator has chosen before", () => {
    const skipping = advance(aSaga({ stage: "PARKED", parkedStage: "STARTED", placed }), { type: "skipped" }).saga;
    expect(story([forced], skipping)).toMatchObject({ stages: ["SETTLING"], asked: ["report SKIPPED", "release"] });
  });
  it("and whose job would not hear of its end is over without telling it", () => {
    const deaf = aSaga({ stage: "PARKED", parkedStage: "SETTLING", outcome: succeeded, placed });
    expect(story([forced], deaf)).toMatchObject({ stages: ["COMPENSATED"], asked: ["release"] });
  });
  it("while it waits or settles is left alone", () => {
    for (const saga of [aSaga(), aSaga({ stage: "SETTLING", outcome: succeeded })]) {
      expect(advance(saga, forced)).toEqual({ saga, commands: [] });
    }
  });
  it("takes no notice of an end that comes after all", () => {
    const { stages, saga } = story(
      [forced, { type: "told" }, { type: "ended", outcome: succeeded }],
      aSaga({ stage: "STARTED", placed }),
    );
    expect(stages).toEqual(["SETTLING", "COMPENSATED", "COMPENSATED"]);
    expect(saga.outcome).toMatchObject({ type: "FAILED", reason: "OPERATOR" });
  });
});

it("an operator is told of what is parked and undone and of what operators do, and of nothing else", () => {
  const verbs: Partial<Record<Happened["type"], Verb>> = {
    retried: "retried",
    skipped: "skipped",
    compensated: "compensating",
  };
  const told = (saga: Saga, happened: Happened) =>
    newsOf(saga, advance(saga, happened).saga, verbs[happened.type] ?? null);
  const parked = aSaga({ stage: "PARKED", parkedStage: "RESERVED", placed });
  expect(told(aSaga(), { type: "held", placed })).toEqual([]);
  expect(told(aSaga(), { type: "commandRefused", message: "no" })).toEqual(["parked"]);
  expect(told(parked, { type: "retried" })).toEqual(["retried"]);
  expect(told(parked, { type: "skipped" })).toEqual(["skipped"]);
  expect(told(parked, { type: "compensated" })).toEqual(["compensating"]);
  expect(newsOf(parked, parked, "retried")).toEqual(["retried", "parked"]);
  expect(told(parked, cancelled)).toEqual([]);
  const settling = aSaga({ stage: "SETTLING", outcome: { ...succeeded, type: "CANCELLED" } });
  expect(told(settling, { type: "told" })).toEqual(["compensated"]);
});

it("a command that fails is tried again later and later, up to half a minute", () => {
  let saga = aSaga({ stage: "RESERVED", placed });
  const waits = Array.from({ length: 12 }, () => {
    saga = advance(saga, { type: "commandFailed", message: "gone" }).saga;
    return saga.wakeInMs;
  });
  expect(waits.slice(0, 3)).toEqual([400, 800, 1_600]);
  expect(waits.at(-1)).toBe(30_000);
});

it("whatever happens in whatever order, an ended saga stays as it is and capacity is given back before the end", () => {
  const happened: fc.Arbitrary<Happened> = fc.constantFrom<Happened>(
    { type: "held", placed },
    { type: "notPlaced", reason: "NO_CAPACITY", message: "" },
    { type: "started", time: null },
    { type: "ended", outcome: succeeded },
    cancelled,
    { type: "told" },
    { type: "commandFailed", message: "" },
    { type: "commandRefused", message: "" },
    { type: "overdue" },
    { type: "retried" },
    { type: "skipped" },
    { type: "compensated" },
    { type: "forced" },
  );
  fc.assert(
    fc.property(fc.array(happened, { maxLength: 40 }), (all) => {
      let saga = aSaga();
      let isReleased = false;
      for (const each of all) {
        const next = advance(saga, each);
        if (isEnded(saga.stage)) {
          // The same object: what is not changed is not saved, and a save of an ended saga is refused.
          expect(next.saga).toBe(saga);
          expect(next.commands).toEqual([]);
        }
        isReleased ||= next.commands.some(({ type }) => type === "release");
        if (isEnded(next.saga.stage)) expect(isReleased).toBe(true);
        expect(next.saga.parkedStage !== null).toBe(next.saga.stage === "PARKED");
        if (next.saga.stage === "STARTED" || next.saga.stage === "RESERVED") expect(next.saga.placed).not.toBeNull();
        saga = next.saga;
      }
    }),
    { numRuns: 2_000 },
  );
});

it.each([
  ["CANCELLED_BY_USER", "CANCELLED_BY_USER"],
  ["JOB_TIMEOUT", "JOB_TIMEOUT"],
  ["REPLACED", "CANCELLED_BY_USER"],
  ["PARENT_ENDED", "CANCELLED_BY_USER"],
])("a job that is cancelled for %s has its execution stopped for %s, the first time and again", (reason, stop) => {
  const asked = { type: "stop", reason: stop, message: "m" };
  const { saga, commands } = advance(aSaga({ stage: "STARTED", placed }), { type: "cancelled", reason, message: "m" });
  expect(commands).toEqual([asked]);
  expect(saga.reason).toBe(reason);
  expect(advance(saga, { type: "overdue" }).commands).toEqual([asked]);
});
