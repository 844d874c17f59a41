/**
 * Gauges whose figures the database is asked for when somebody scrapes them, and at no other time: they cost nothing where nobody
 * looks. All replicas of a service tell the same figures, so that a dashboard takes their maximum, not their sum.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { metrics } from "@opentelemetry/api";
import type { Pool } from "pg";
import type { Db } from "./db.ts";

export interface Figure {
  readonly value: number;
  readonly attributes: Readonly<Record<string, string>>;
}

interface GaugeOptions {
  readonly pool: Pool;
  /** With its unit, `capstan.outbox.age_seconds`. */
  readonly name: string;
  readonly description: string;
  /** One short statement. */
  readonly read: (db: Db) => Promise<readonly Figure[]>;
}

/** A scrape is not held up by a database that does not answer. */
const patienceMs = 2_000;

/** Lasts as long as its pool. What cannot be read in time is NaN in that scrape, because the last figure would pass for the present one. */
export function startGauge({ pool, name, description, read }: GaugeOptions): void {
  const gauge = metrics.getMeter("@capstan/postgres").createObservableGauge(name, { description });
  let last: readonly Figure[] = [];
  const observe: Parameters<typeof gauge.addCallback>[0] = async (result) => {
    if (pool.ending || pool.ended) return gauge.removeCallback(observe);
    const reading = read(pool).catch(() => null);
    const figures = await Promise.race([reading, sleep(patienceMs, null, { ref: false })]);
    for (const { attributes } of figures === null ? last : []) result.observe(Number.NaN, attributes);
    for (const { value, attributes } of figures ?? []) result.observe(value, attributes);
    last = figures ?? last;
  };
  gauge.addCallback(observe);
}
