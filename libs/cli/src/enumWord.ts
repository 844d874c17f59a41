/** The words of enums for people: `JOB_STATE_TIMED_OUT` is TIMED_OUT, and "not given" is nothing. */
import type { Cell, Colour } from "./table.ts";

const prefix =
  /^(JOB_STATE|STEP_STATE|EXECUTION_STATE|PROVIDER_STATE|PROVIDER_HEALTH|PROVIDER_KIND|SAGA_STAGE|RESERVATION_STATE|WORKER_STATE|KEY_POLICY|WAIT_ACTION|TEMPLATE_STATE|PARAMETER_TYPE|SCHEDULE_STATE|SCHEDULE_REASON|OVERLAP_POLICY|MISSED_RUN_POLICY|CLOCK_CHANGE|SEVERITY|REASON)_/;

export function enumWord(name: string): string {
  const word = name.replace(prefix, "");
  return word === "UNSPECIFIED" || word === "UNRECOGNIZED" ? "" : word;
}

const colours: Readonly<Record<string, Colour>> = {
  SUCCEEDED: "green",
  DONE: "green",
  HEALTHY: "green",
  ACTIVE: "green",
  PUBLISHED: "green",
  CONNECTED: "green",
  FAILED: "red",
  TIMED_OUT: "red",
  LOST: "red",
  UNHEALTHY: "red",
  PARKED: "red",
  CANCELLED: "yellow",
  CANCELLING: "yellow",
  BACKOFF: "yellow",
  DEGRADED: "yellow",
  CORDONED: "yellow",
  PAUSED: "yellow",
  DEPRECATED: "yellow",
  DRAINING: "yellow",
  SILENT: "yellow",
  COMPENSATING: "yellow",
  COMPENSATED: "yellow",
  DISABLED: "gray",
  ENDED: "gray",
  ARCHIVED: "gray",
  SKIPPED: "gray",
  RUNNING: "cyan",
  STARTED: "cyan",
};

/** The word as a cell, in the colour of how good or bad it is. */
export function enumCell(name: string): Cell {
  const word = enumWord(name);
  const colour = colours[word];
  return colour === undefined ? word : { text: word, colour };
}
