import { DomainError } from "@capstan/errors";
import { expect, test } from "vitest";
import { lostRace, repeatLostRaces } from "./lostRace.ts";

/** Work that fails with these, one after the other, and then succeeds with the number of its tries. */
function failing(...errors: readonly Error[]): () => Promise<number> {
  const left = [...errors];
  return async () => {
    const error = left.shift();
    if (error !== undefined) throw error;
    return errors.length + 1;
  };
}

const deadlock = Object.assign(new Error("deadlock detected"), { code: "40P01" });

test("a lost race and a deadlock are tried again", async () => {
  expect(await repeatLostRaces(failing(lostRace(), deadlock, lostRace()))).toBe(4);
});

test("what loses five times is refused as it is", async () => {
  const work = failing(lostRace(), lostRace(), lostRace(), lostRace(), lostRace());
  await expect(repeatLostRaces(work)).rejects.toMatchObject({ code: "ABORTED", reason: "RESERVATION_CHANGED" });
});

test("anything else is thrown at once", async () => {
  const refusal = new DomainError({ code: "FAILED_PRECONDITION", reason: "WRONG_STATE", message: "no" });
  await expect(repeatLostRaces(failing(refusal))).rejects.toBe(refusal);
  await expect(repeatLostRaces(failing(new Error("broken")))).rejects.toThrow("broken");
});
