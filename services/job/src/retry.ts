/**
 * When a failed attempt is repeated, and how long to wait before it. The n-th wait is initial · multiplier^(n-1), at most
 * max, spread by jitter so that jobs that failed together do not come back together.
 */
export interface RetryPolicy {
  readonly maxAttempts: number;
  readonly initialBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly multiplier: number;
  /** Share of a wait that is random, 0 to 1. */
  readonly jitter: number;
  readonly fatalExitCodes: readonly number[];
}

export const noRetry: RetryPolicy = {
  maxAttempts: 1,
  initialBackoffMs: 1_000,
  maxBackoffMs: 300_000,
  multiplier: 2,
  jitter: 0,
  fatalExitCodes: [],
};

/** What repeating cannot cure: the same spec would be refused in the same way. */
const incurable: readonly string[] = [
  "COMMAND_NOT_FOUND",
  "PERMISSION_DENIED",
  "BAD_WORKING_DIRECTORY",
  "IMAGE_NOT_FOUND",
  "COMMAND_REFUSED",
  "NON_RETRYABLE",
  "OPERATOR",
];

/** True while attempts are left and the failure may be cured by repeating. `attempt` is the one that failed. */
export function isWorthRepeating(
  policy: RetryPolicy,
  attempt: number,
  failure: { readonly reason: string; readonly exitCode: number | null },
): boolean {
  if (attempt >= policy.maxAttempts || incurable.includes(failure.reason)) return false;
  return failure.exitCode === null || !policy.fatalExitCodes.includes(failure.exitCode);
}

/** Milliseconds to wait after `attempt` failed. `random` in [0, 1): 0.5 is the middle of the jitter. */
export function backoffMs(policy: RetryPolicy, attempt: number, random: number): number {
  const { initialBackoffMs, maxBackoffMs, multiplier, jitter } = policy;
  const wait = Math.min(maxBackoffMs, initialBackoffMs * multiplier ** (attempt - 1));
  return Math.round(wait * (1 + jitter * (2 * random - 1)));
}
