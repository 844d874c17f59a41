/** Facts for tests of what carries them. */
import { type Fact, uuidv7 } from "@capstan/postgres";

/** A well-formed fact of an aggregate of its own, changed as the test needs it. */
export function exampleFact(change: Partial<Fact> = {}): Fact {
  return {
    id: uuidv7(),
    tenant: "default",
    noun: "job",
    event: "submitted",
    aggregateId: uuidv7(),
    sequence: 1,
    correlationId: "",
    causationId: "",
    traceparent: null,
    data: { name: 'an "example"', note: "naïve — ✓" },
    ...change,
  };
}

/** The first facts of one aggregate, in order. */
export function exampleFacts(aggregateId: string, count: number, first = 1): readonly Fact[] {
  return Array.from({ length: count }, (_, at) => exampleFact({ aggregateId, sequence: first + at }));
}
