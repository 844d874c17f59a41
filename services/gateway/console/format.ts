/** Words, times and amounts as people read them; the same as on the command line. */

const prefix =
  /^(JOB_STATE|STEP_STATE|EXECUTION_STATE|PROVIDER_STATE|PROVIDER_HEALTH|PROVIDER_KIND|SAGA_STAGE|RESERVATION_STATE|WORKER_STATE|KEY_POLICY|WAIT_ACTION|TEMPLATE_STATE|PARAMETER_TYPE|SCHEDULE_STATE|SCHEDULE_REASON|OVERLAP_POLICY|MISSED_RUN_POLICY|CLOCK_CHANGE|LOG_STREAM|TIMEOUT_OUTCOME|HEALTH_STATE|SESSION_KIND|SESSION_STATE|SESSION_REASON|REASON)_/;

/** `JOB_STATE_TIMED_OUT` is TIMED_OUT; what is not given is empty. One that the gateway does not know comes as its number. */
export function enumWord(name: string | number | undefined): string {
  const word = String(name ?? "").replace(prefix, "");
  return word === "UNSPECIFIED" || word === "UNRECOGNIZED" || word === "-1" ? "" : word;
}

/** `TIMED_OUT` is `timed out`, `OUT_OF_MEMORY` is `out of memory`. */
export function humanWord(name: string | number | undefined): string {
  return enumWord(name).toLowerCase().replaceAll("_", " ");
}

/** A reason and its message as one text, without saying the same twice: `exit code 2`, `no capacity: 3 providers are full`. */
export function whyOf(reason: string | undefined, message: string | undefined): string {
  const [word, text] = [humanWord(reason), message ?? ""];
  if (word === "" || text === "") return word || text;
  return text.toLowerCase().startsWith(word) ? text : `${word}: ${text}`;
}

/** Milliseconds since 1970; NaN of what is absent. */
export function timeOf(text: string | undefined): number {
  return text === undefined ? Number.NaN : Date.parse(text);
}

/** The largest unit that is at least one: `42s`, `5m`, `3h`, `12d`. */
export function formatAge(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Finer than an age: `85ms`, `1.2s`, `2m 5s`, `3h 20m`, `4d 2h`. */
export function formatSpan(milliseconds: number): string {
  if (!Number.isFinite(milliseconds)) return "";
  if (milliseconds < 1_000) return `${Math.max(0, Math.round(milliseconds))}ms`;
  if (milliseconds < 60_000) return `${(Math.floor(milliseconds / 100) / 10).toFixed(1)}s`;
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 60) return `${minutes}m ${Math.floor((milliseconds % 60_000) / 1_000)}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h ${minutes % 60}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** Milliseconds of a protobuf duration such as `1.5s`; NaN of what is absent. */
export function durationMs(text: string | undefined): number {
  return text === undefined ? Number.NaN : Number.parseFloat(text) * 1_000;
}

/** A length that somebody has set, without what is nought: `20s`, `1m`, `1h 30m`. */
export function formatLength(text: string | undefined): string {
  return formatSpan(durationMs(text))
    .replace(/\.0s$/, "s")
    .replace(/ 0[smh]$/, "");
}

const dateTime = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

/** In the reader's own time zone. */
export function formatTime(text: string | undefined): string {
  const time = timeOf(text);
  return Number.isNaN(time) ? "" : dateTime.format(time);
}

/** Only the clock, `14:03:09`. */
export function formatClock(text: string | undefined): string {
  const time = timeOf(text);
  return Number.isNaN(time) ? "" : clock.format(time);
}

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** `1,234`. */
export function formatCount(count: number): string {
  return whole.format(count);
}

/** Of what the API counts up to 100,000: `1,234`, `100,000+`. */
export function countText(count: number): string {
  return count >= 100_000 ? "100,000+" : formatCount(count);
}

/** `1.2K`. */
export function formatShort(count: number): string {
  return compact.format(count);
}

/** `512 B`, `3.4 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [amount, unit] = [bytes, 0];
  while (amount >= 1_024 && unit < units.length - 1) [amount, unit] = [amount / 1_024, unit + 1];
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

/** One and many: `1 job`, `3 jobs`. */
export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : many}`;
}
