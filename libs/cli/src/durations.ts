/** Lengths of time as people write and read them: options take `1h30m`, tables show ages (`3m`) and spans (`1.2s`). */
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Protobuf's own limit: 10,000 years. */
const maxSeconds = 315_576_000_000;

/** Milliseconds of `500ms`, `30s`, `5m`, `1h30m` or `2d`; null if it is none of these. */
export function parseDurationMs(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|s|m|h|d)/g)) {
    total += Number(amount) * unitMs[unit as keyof typeof unitMs];
  }
  return total <= maxSeconds * 1_000 ? total : null;
}

export function durationOfMs(milliseconds: number): Duration {
  const seconds = Math.floor(milliseconds / 1_000);
  return { seconds, nanos: Math.round((milliseconds - seconds * 1_000) * 1_000_000) };
}

/** The largest unit that is at least one, rounded down: `42s`, `5m`, `3h`, `12d`. A clock that is behind shows `0s`. */
export function formatAge(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** How long something took, finer than an age: `85ms`, `1.2s`, `2m5s`, `3h20m`. */
export function formatSpan(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.max(0, Math.round(milliseconds))}ms`;
  if (milliseconds < 60_000) return `${(Math.floor(milliseconds / 100) / 10).toFixed(1)}s`;
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 60) return `${minutes}m${Math.floor((milliseconds % 60_000) / 1_000)}s`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}
