/** The parts of a step that say where it may run and when it is repeated: what they may say, and what they mean to the job. */
import type {
  LabelConstraint,
  Placement,
  RetryPolicy as RetryPolicyMessage,
} from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkDuration, checkEnum, checkLine, checkRange, durationMs, type Refuse } from "./fieldChecks.ts";
import { noRetry, type RetryPolicy } from "./retry.ts";

const maxBackoff = { minMs: 1, maxMs: 86_400_000 };

export function checkPlacement(
  { provider, kind, constraints, strategy, spreadLabel }: Placement,
  refuse: Refuse,
): void {
  checkLine(provider, "placement.provider", 63, refuse);
  checkLine(kind, "placement.kind", 63, refuse);
  checkLine(spreadLabel, "placement.spread_label", 63, refuse);
  checkEnum(strategy, "placement.strategy", refuse);
  if (constraints.length > 16) {
    return refuse("placement.constraints", `has ${constraints.length} constraints; the limit is 16`);
  }
  for (const [index, constraint] of constraints.entries()) {
    checkConstraint(constraint, (field, description) =>
      refuse(`placement.constraints[${index}].${field}`, description),
    );
  }
}

function checkConstraint({ key, operator, values }: LabelConstraint, refuse: Refuse): void {
  checkLine(key, "key", 63, refuse, { required: true });
  for (const [index, value] of values.entries()) checkLine(value, `values[${index}]`, 256, refuse);
  switch (operator) {
    case "LABEL_OPERATOR_EQ":
    case "LABEL_OPERATOR_NE":
      if (values.length !== 1) refuse("values", "needs exactly one value with this operator");
      return;
    case "LABEL_OPERATOR_GT":
    case "LABEL_OPERATOR_LT":
      if (values.length !== 1 || values[0]?.trim() === "" || !Number.isFinite(Number(values[0]))) {
        refuse("values", "needs exactly one number with this operator");
      }
      return;
    case "LABEL_OPERATOR_IN":
    case "LABEL_OPERATOR_NOT_IN":
      if (values.length < 1 || values.length > 64) refuse("values", "needs 1 to 64 values with this operator");
      return;
    default:
      refuse("operator", "must be EQ, NE, IN, NOT_IN, GT or LT");
  }
}

export function checkRetry(retry: RetryPolicyMessage, refuse: Refuse): void {
  checkRange(retry.maxAttempts, "retry.max_attempts", 0, 100, refuse);
  checkDuration(retry.initialBackoff, "retry.initial_backoff", maxBackoff, refuse);
  checkDuration(retry.maxBackoff, "retry.max_backoff", maxBackoff, refuse);
  if (retry.multiplier !== 0) checkRange(retry.multiplier, "retry.multiplier", 1, 10, refuse);
  checkRange(retry.jitter, "retry.jitter", 0, 1, refuse);
  if (retry.fatalExitCodes.length > 64) refuse("retry.fatal_exit_codes", "has more than 64 codes");
  for (const [index, code] of retry.fatalExitCodes.entries()) {
    checkRange(code, `retry.fatal_exit_codes[${index}]`, 1, 255, refuse);
  }
}

/** The policy with its defaults; null means an attempt is never repeated. */
export function retryPolicyOf(retry: RetryPolicyMessage | undefined): RetryPolicy | null {
  if (retry === undefined || retry.maxAttempts <= 1) return null;
  return {
    maxAttempts: retry.maxAttempts,
    initialBackoffMs: durationMs(retry.initialBackoff) || noRetry.initialBackoffMs,
    maxBackoffMs: durationMs(retry.maxBackoff) || noRetry.maxBackoffMs,
    multiplier: retry.multiplier || noRetry.multiplier,
    jitter: retry.jitter,
    fatalExitCodes: retry.fatalExitCodes,
  };
}
