import { expect, test } from "vitest";
import { coalesce } from "./coalesce.ts";

function record() {
  const batches: (readonly number[])[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const double = async (items: readonly number[]) => {
    batches.push(items);
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    return items.map((item) => 2 * item);
  };
  return { batches, gates, double };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("items that come while work is under way go together in the next batch, each with its own answer", async () => {
  const { batches, gates, double } = record();
  const handIn = coalesce(double, 2);
  const first = handIn(1);
  await turn();
  const rest = [2, 3, 4].map(handIn);
  for (let index = 0; index < 3; index += 1) {
    gates[index]?.resolve();
    await turn();
  }
  expect(await Promise.all([first, ...rest])).toEqual([2, 4, 6, 8]);
  expect(batches).toEqual([[1], [2, 3], [4]]);
});

test("a batch that fails fails for all in it and for nobody else", async () => {
  const { gates, double } = record();
  const handIn = coalesce(double);
  const failing = Promise.allSettled([handIn(1), handIn(2)]);
  await turn();
  const next = handIn(3);
  gates[0]?.reject(new Error("down"));
  await turn();
  gates[1]?.resolve();
  expect((await failing).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await next).toBe(6);
});
