/** What a runner says while its worker is slower than that. */
import type { ConnectResponse } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { openLink } from "./workerLink.ts";

function slowStream() {
  const said: ConnectResponse[] = [];
  const room = Promise.withResolvers<void>();
  let isSlow = true;
  const stream = {
    send(message: ConnectResponse) {
      said.push(message);
      return !isSlow;
    },
    hasRoom: () => room.promise,
  };
  const catchUp = () => {
    isSlow = false;
    room.resolve();
  };
  return { stream, said, catchUp };
}

test("a worker that says much and reads nothing has no answers heaped up for it", () => {
  const { stream, said } = slowStream();
  const link = openLink(stream, () => {});
  for (let heartbeats = 0; heartbeats < 1_000; heartbeats += 1) link.answer();
  expect(said).toHaveLength(1);
});

test("what was to be said meanwhile is said when it has caught up", async () => {
  const { stream, said, catchUp } = slowStream();
  const link = openLink(stream, () => {});
  link.answer();
  link.acknowledge("a");
  catchUp();
  await eventually(() => expect(said.flatMap(({ acknowledged }) => acknowledged)).toEqual(["a"]));
  link.answer();
  expect(said).toHaveLength(3);
});
