/**
 * Watches how long nothing was heard from a runner. After two thirds of the lease the worker is cut off: the rest of it is for its
 * handlers to end before the platform gives what they do to others.
 */
interface LeaseWatch {
  /** When a runner was heard last; monotonic. */
  readonly heardMs: number;
  heard(): void;
  /** A runner has accepted the worker under this lease. */
  begin(leaseMs: number): void;
  end(): void;
}

const longestTimerMs = 2 ** 31 - 1;

export function watchLease(onCutOff: () => void): LeaseWatch {
  let heardMs = performance.now();
  let patienceMs = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;

  /** One timer, set again when it goes off: a word from the runner only moves the time it is compared with. */
  function check(): void {
    clearTimeout(timer);
    const leftMs = heardMs + patienceMs - performance.now();
    if (leftMs <= 0) onCutOff();
    else timer = setTimeout(check, Math.min(leftMs, longestTimerMs));
  }

  return {
    get heardMs() {
      return heardMs;
    },
    heard() {
      heardMs = performance.now();
    },
    begin(leaseMs) {
      heardMs = performance.now();
      patienceMs = (leaseMs * 2) / 3;
      check();
    },
    end: () => clearTimeout(timer),
  };
}
