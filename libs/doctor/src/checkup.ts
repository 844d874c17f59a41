/**
 * The hourly look of a service at its own schema: a service reads no other one's, so that what spans several is only seen by
 * `capstan doctor`. Nor is all that ever happened read each hour, only what lives.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { inTransaction, type Log, type Pool } from "@capstan/postgres";
import type { Checkup as CheckupMessage } from "@capstan/proto/capstan/system/v1/checkup.ts";
import { metrics } from "@opentelemetry/api";
import { type Examination, examine, isReadableFrom, seenTwice } from "./examine.ts";
import type { Schema } from "./invariant.ts";
import { type InvariantName, invariantNames, invariants } from "./invariants.ts";

interface CheckupOptions {
  readonly pool: Pool;
  readonly schema: Schema;
  readonly log: Log;
  /** After which a finding is looked for again before it counts; a minute when absent. */
  readonly againMs?: number;
}

/** From one look to the next. */
export const checkupIntervalMs = 3_600_000;

const settleMs = 60_000;
const limit = 100;
const statementMs = 5_000;
/** Of what breaks an invariant: in the log, and in the answer to those who ask. */
const maxRefs = 5;

/** What a service examines of itself. */
export function namesFor(schema: Schema): readonly InvariantName[] {
  return invariantNames.filter((name) => {
    const { holds, sees } = invariants[name];
    return holds === "always" && sees === undefined && isReadableFrom(invariants[name], [schema]);
  });
}

export interface Checkup {
  /** Looks once, and for what was found again `againMs` later: only what is still there counts. */
  once(signal: AbortSignal): Promise<void>;
  /** What the last look has found; nothing but the service before there was one. */
  last(): CheckupMessage;
}

/** Make it once the metrics of the process have started. */
export function createCheckup({ pool, schema, log, againMs = 60_000 }: CheckupOptions): Checkup {
  const names = namesFor(schema);
  let examinations: readonly Examination[] = [];
  let time: Date | undefined;
  const gauge = metrics.getMeter("@capstan/doctor").createObservableGauge("capstan.invariant.violations", {
    description: "What breaks an invariant, as of the last look; NaN if it could not be examined",
  });
  const observe: Parameters<typeof gauge.addCallback>[0] = (result) => {
    if (pool.ending || pool.ended) return gauge.removeCallback(observe);
    for (const { name: invariant, findings, failure } of examinations) {
      result.observe(failure === null ? findings.length : Number.NaN, { context: schema, invariant });
    }
  };
  gauge.addCallback(observe);

  const look = (of: readonly InvariantName[]) =>
    examine(
      ({ text, values }) =>
        inTransaction(pool, async (db) => {
          await db.query(`set local statement_timeout = ${statementMs}`);
          return (await db.query<{ ref: string; key?: string }>(text, values)).rows;
        }),
      { names: of, from: [schema], settleMs, limit },
    );

  return {
    async once(signal) {
      const first = await look(names);
      const suspects = first.filter(({ findings }) => findings.length > 0);
      if (suspects.length > 0 && !(await hasPassed(againMs, signal))) return;
      const second = new Map((await look(suspects.map(({ name }) => name))).map((each) => [each.name, each]));
      examinations = first.map((before) => {
        const after = second.get(before.name);
        return after === undefined
          ? { ...before, findings: [] }
          : { ...after, findings: seenTwice(before.findings, after.findings) };
      });
      time = new Date();
      for (const { name, findings } of examinations.filter(isBroken)) {
        const { finding, advice } = invariants[name];
        const refs = findings.slice(0, maxRefs).map(({ ref }) => ref);
        log.warn({ invariant: name, finding, count: findings.length, refs, advice }, "an invariant does not hold");
      }
    },
    last: () => ({
      service: schema,
      time,
      examined: examinations.filter(({ failure }) => failure === null).length,
      violations: examinations.filter(isBroken).map(toViolation),
      unexamined: examinations.flatMap(({ name: invariant, failure }) =>
        failure === null ? [] : [{ invariant, why: failure }],
      ),
    }),
  };
}

function isBroken({ findings, failure }: Examination): boolean {
  return failure === null && findings.length > 0;
}

function toViolation({ name, findings, isMore }: Examination): CheckupMessage["violations"][number] {
  const { severity, finding, meaning, advice, repair } = invariants[name];
  return {
    ...{ invariant: name, finding, meaning, advice, repair: repair?.does ?? "" },
    severity: severity === "error" ? "SEVERITY_ERROR" : "SEVERITY_WARNING",
    count: findings.length,
    hasMore: isMore,
    refs: findings.slice(0, maxRefs).map(({ ref }) => ref),
  };
}

/** False if it was stopped before. */
function hasPassed(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}
