/** Loaded before a service (`--import`), it sets the clock of that process alone: `CAPSTAN_TEST_CLOCK_MS` is added to the time of day. */
const shiftMs = Number(process.env["CAPSTAN_TEST_CLOCK_MS"] ?? 0);
const TrueDate = Date;

class ShiftedDate extends TrueDate {
  constructor(...given: readonly unknown[]) {
    if (given.length === 0) super(TrueDate.now() + shiftMs);
    else super(...(given as [number]));
  }

  static override now(): number {
    return TrueDate.now() + shiftMs;
  }
}

globalThis.Date = ShiftedDate as DateConstructor;
