/**
 * Local times of a time zone and the instants they stand for. A local time is a Date that shows it in UTC. When clocks are put forward
 * some local times do not exist, and when they are put back some come twice.
 */

const formats = new Map<string, Intl.DateTimeFormat>();
/** Zones there are some 600; the rest would be the same ones in other letters. */
const maxFormats = 1_000;

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  if (formats.size >= maxFormats) formats.clear();
  formats.set(timeZone, format);
  return format;
}

/** Whether it is a name of the IANA database; an offset such as "+02:00" is none. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) return false;
  try {
    formatOf(name);
    return true;
  } catch {
    return false;
  }
}

/** Milliseconds by which local time is ahead of UTC at an instant. */
export function offsetMs(timeZone: string, instant: Date): number {
  if (timeZone === "UTC") return 0;
  const parts = formatOf(timeZone).formatToParts(instant);
  const part = (type: Intl.DateTimeFormatPartTypes) =>
    Number(parts.find((candidate) => candidate.type === type)?.value);
  const local = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second"));
  return local - Math.floor(instant.getTime() / 1_000) * 1_000;
}

export function localTime(timeZone: string, instant: Date): Date {
  return new Date(instant.getTime() + offsetMs(timeZone, instant));
}

/** The instant of a local time. */
export interface Instant {
  readonly time: Date;
  /** `GAP`: the local time does not exist, and this is when the clock was put forward. `REPEATED`: it comes again later. */
  readonly change: "NONE" | "GAP" | "REPEATED";
}

const day = 86_400_000;

export function instantOf(timeZone: string, local: Date): Instant {
  const at = (ms: number) => offsetMs(timeZone, new Date(ms));
  const wanted = local.getTime();
  // No zone changes its clock twice in two days.
  const offsets = [...new Set([at(wanted - day), at(wanted + day)])];
  const instants = offsets.map((offset) => wanted - offset).filter((ms) => ms + at(ms) === wanted);
  const [first, second] = instants.toSorted((a, b) => a - b);
  if (first !== undefined) return { time: new Date(first), change: second === undefined ? "NONE" : "REPEATED" };
  const [earliest = wanted, latest = wanted] = offsets.map((offset) => wanted - offset).toSorted((a, b) => a - b);
  return { time: changeBetween(timeZone, earliest, latest), change: "GAP" };
}

/** The second at which the offset changes; it differs between the two ends. */
function changeBetween(timeZone: string, from: number, to: number): Date {
  const before = offsetMs(timeZone, new Date(from));
  let [low, high] = [Math.floor(from / 1_000), Math.ceil(to / 1_000)];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMs(timeZone, new Date(middle * 1_000)) === before) low = middle;
    else high = middle;
  }
  return new Date(high * 1_000);
}

/** `2026-03-29T03:00:00+02:00`. */
export function formatLocal(timeZone: string, instant: Date): string {
  const minutes = Math.round(offsetMs(timeZone, instant) / 60_000);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  const local = new Date(instant.getTime() + minutes * 60_000).toISOString().slice(0, 19);
  return `${local}${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
}
