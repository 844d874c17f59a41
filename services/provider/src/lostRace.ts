/** Races that two calls may have for the same reservations. The loser has changed nothing and simply asks again. */
import { DomainError } from "@capstan/errors";

const maxTries = 5;
// serialization_failure and deadlock_detected (PostgreSQL, Appendix A)
const postgresRaces: readonly unknown[] = ["40001", "40P01"];

/** What the loser throws, to undo its transaction. */
export function lostRace(): DomainError {
  return new DomainError({
    code: "ABORTED",
    reason: "RESERVATION_CHANGED",
    message: "a reservation was made or has ended meanwhile; ask again",
  });
}

/** Repeats `work`, a whole transaction, while it fails with ABORTED or a race that Postgres ended. */
export async function repeatLostRaces<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === maxTries || !isLostRace(error)) throw error;
    }
  }
}

function isLostRace(error: unknown): boolean {
  if (error instanceof DomainError) return error.code === "ABORTED";
  return error instanceof Error && "code" in error && postgresRaces.includes(error.code);
}
