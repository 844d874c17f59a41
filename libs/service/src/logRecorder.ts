/** A true logger for specs that keeps its lines. */
import { Writable } from "node:stream";
import { pino } from "pino";
import type { Logger } from "./log.ts";

export function recordLog(): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  return { log: pino({ level: "debug", base: null }, stream), lines };
}
