/**
 * How much an expression may do. Work is counted, not timed, so that the same expression over the same values always ends in the
 * same way: a unit is one node of the expression looked at, one item of a list, or some characters of a text.
 */
import { ExpressionError } from "./expressionError.ts";

/** Measured: up to 130 ns each, so that the worst expression that was found ends within about 40 ms. */
export const maxWork = 300_000;
/** Of a text on the way to a result; the result as a whole is at most as long. */
export const maxTextLength = 256 * 1024;

const charactersPerUnit = 16;

/** What is left to do; several expressions may share one, so that many of them may not do more than one. */
export class Work {
  #left = maxWork;

  /** What was done with it so far. */
  get spent(): number {
    return maxWork - this.#left;
  }

  spend(units: number): void {
    this.#left -= units;
    if (this.#left < 0) {
      throw new ExpressionError(`takes more than ${maxWork} units of work; it loops over too much`);
    }
  }

  /** For a text of this length that is made or read through. */
  spendText(length: number): void {
    if (length > maxTextLength) {
      throw new ExpressionError(`makes a text of ${length} characters; the limit is ${maxTextLength}`);
    }
    this.spend(Math.ceil(length / charactersPerUnit));
  }

  /** For a search, whose worst case is the product of both lengths. */
  spendSearch(length: number, soughtLength: number): void {
    this.spend(Math.ceil((length * Math.max(1, soughtLength)) / 256));
  }
}
