import { DomainError } from "@capstan/errors";
import { expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { type Message, serveTest } from "./testService.ts";

/** Keeps what a call says, and how it ends; undefined while it has not. */
function listen() {
  const answers: string[] = [];
  let failure: DomainError | null | undefined;
  return {
    answers,
    ended: () =>
      eventually(() => (failure === undefined ? Promise.reject(new Error("it has not ended")) : { failure })),
    onAnswer: ({ text }: Message) => void answers.push(text),
    onEnd(error: DomainError | null) {
      failure = error;
    },
  };
}

test("both sides say things when they like, and the call ends in order when both have said all", async () => {
  const { client } = await serveTest({
    async talk({ requests, send }) {
      send({ text: "welcome" });
      for await (const { text } of requests) send({ text: `${text}!` });
    },
  });
  const listener = listen();
  const call = client.talk(listener);
  await eventually(() => expect(listener.answers).toEqual(["welcome"]));
  call.send({ text: "one" });
  call.send({ text: "two" });
  call.end();
  expect(await listener.ended()).toEqual({ failure: null });
  expect(listener.answers).toEqual(["welcome", "one!", "two!"]);
  // What is said afterwards goes nowhere and breaks nothing.
  expect(call.send({ text: "three" })).toBe(true);
});

test("a refusal ends the call with what it was refused for, after what was said before", async () => {
  const { client } = await serveTest({
    async talk({ send }) {
      send({ text: "almost" });
      throw new DomainError({ code: "FAILED_PRECONDITION", reason: "TAKEN", message: "somebody else has it" });
    },
  });
  const listener = listen();
  client.talk(listener);
  expect((await listener.ended()).failure).toMatchObject({ code: "FAILED_PRECONDITION", reason: "TAKEN" });
  expect(listener.answers).toEqual(["almost"]);
});

test("a call that is cancelled, or whose signal aborts, ends with CANCELLED, and the server knows", async () => {
  let aborted = 0;
  const { client } = await serveTest({
    talk: ({ send }, { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          aborted += 1;
          resolve();
        });
        send({ text: "welcome" });
      }),
  });
  const [one, other] = [listen(), listen()];
  const controller = new AbortController();
  const call = client.talk(one);
  client.talk(other, { signal: controller.signal });
  await eventually(() => expect([...one.answers, ...other.answers]).toHaveLength(2));
  call.cancel();
  controller.abort();
  for (const { ended } of [one, other]) expect((await ended()).failure).toMatchObject({ code: "CANCELLED" });
  await eventually(() => aborted === 2);
});

test("who says more than the server takes is told, and told again when there is room", async () => {
  let read = () => {};
  const { client } = await serveTest({
    async talk({ requests, send }) {
      await new Promise<void>((resolve) => {
        read = resolve;
      });
      let count = 0;
      for await (const _ of requests) count += 1;
      send({ text: String(count) });
    },
  });
  const listener = listen();
  let rooms = 0;
  const onRoom = () => {
    rooms += 1;
  };
  const call = client.talk({ ...listener, onRoom });
  let sent = 0;
  await eventually(() => {
    sent += 1;
    return !call.send({ text: "x".repeat(1024 * 1024) });
  });
  expect(rooms).toBe(0);
  read();
  await eventually(() => rooms > 0);
  call.end();
  await listener.ended();
  expect(listener.answers).toEqual([String(sent)]);
});

test("where nobody listens a call ends with UNAVAILABLE", async () => {
  const { client, server } = await serveTest({});
  await server.stop();
  const listener = listen();
  client.talk(listener);
  expect((await listener.ended()).failure).toMatchObject({ code: "UNAVAILABLE" });
});
