import fc from "fast-check";
import { expect, test } from "vitest";
import { type Channel, createOutlet } from "./liveOutlet.ts";
import { noCounts } from "./session.ts";

/** A client whose socket takes only so much until it is drained. */
function aClient({ takes = 2, maxEvents = 4, maxBytes = 1_000, budget = { bytes: 0, maxBytes: 10_000 } } = {}) {
  const sent: string[] = [];
  const counts = { ...noCounts };
  let room = takes;
  const wire = {
    isFull: () => room <= 0,
    write(frame: Buffer | string) {
      room -= 1;
      sent.push(frame.toString());
    },
  };
  const outlet = createOutlet(wire, counts, { maxEvents, maxBytes }, budget);
  return {
    outlet,
    sent,
    counts,
    budget,
    drain(more = takes) {
      room = more;
      outlet.drain();
    },
  };
}

function aChannel(id: string): Channel {
  return { dropped: 0, isClosed: false, notice: (count) => `${id} missed ${count}` };
}

const frame = (text: string) => Buffer.from(text);

test("what the socket takes is sent at once, what it does not waits in its order", () => {
  const { outlet, sent, drain, counts } = aClient();
  const channel = aChannel("a");
  for (const text of ["1", "2", "3", "4"]) outlet.offer(channel, frame(text));
  expect(sent).toEqual(["1", "2"]);
  drain();
  expect(sent).toEqual(["1", "2", "3", "4"]);
  expect(counts).toMatchObject({ deliveredEvents: 4, droppedEvents: 0, sentBytes: 4 });
});

test("what is beyond the bound is left out, and told in the place where it is missing", () => {
  const { outlet, sent, drain, counts } = aClient({ takes: 1, maxEvents: 2 });
  const [one, other] = [aChannel("one"), aChannel("other")];
  for (const text of ["1", "2", "3", "4", "5"]) outlet.offer(one, frame(text));
  outlet.offer(other, frame("x"));
  drain(10);
  for (const text of ["6", "7"]) outlet.offer(one, frame(text));
  expect(sent).toEqual(["1", "2", "3", "one missed 2", "other missed 1", "6", "7"]);
  expect(counts).toMatchObject({ deliveredEvents: 5, droppedEvents: 3 });
});

test("bytes are bounded for one client and for all together", () => {
  const budget = { bytes: 0, maxBytes: 15 };
  const [first, second] = [aClient({ takes: 0, maxBytes: 10, budget }), aClient({ takes: 0, maxBytes: 10, budget })];
  const channels = [aChannel("a"), aChannel("b")] as const;
  for (const _ of [1, 2, 3]) first.outlet.offer(channels[0], frame("12345"));
  for (const _ of [1, 2]) second.outlet.offer(channels[1], frame("12345"));
  expect([channels[0].dropped, channels[1].dropped]).toEqual([1, 1]);
  expect(budget.bytes).toBe(15);
  first.outlet.close();
  expect(budget.bytes).toBe(5);
});

test("what waits for a subscription that has ended is not sent", () => {
  const { outlet, sent, drain } = aClient({ takes: 1 });
  const channel = aChannel("a");
  for (const text of ["1", "2", "3"]) outlet.offer(channel, frame(text));
  channel.isClosed = true;
  drain();
  expect(sent).toEqual(["1"]);
});

test("whoever waits for room is called when all that waited was sent, and when the client is gone", () => {
  const { outlet, drain } = aClient({ takes: 1 });
  const called: string[] = [];
  outlet.offer(aChannel("a"), frame("1"));
  outlet.offer(aChannel("a"), frame("2"));
  outlet.whenRoom(() => called.push("room"));
  drain(1);
  expect(called).toEqual([]);
  drain(1);
  expect(called).toEqual(["room"]);
  outlet.send("full");
  outlet.whenRoom(() => called.push("gone"));
  outlet.close();
  expect(called).toEqual(["room", "gone"]);
});

test("an event that was lost elsewhere is told at once while there is room", () => {
  const { outlet, sent } = aClient();
  const channel = aChannel("a");
  outlet.lose(channel);
  outlet.offer(channel, frame("1"));
  expect(sent).toEqual(["a missed 1", "1"]);
});

test("however slowly a client reads, what it gets and what it is told to miss are all there was, in order", () => {
  const step = fc.oneof(fc.constant("offer" as const), fc.integer({ min: 1, max: 5 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 6 }), (steps, maxEvents) => {
      const { outlet, sent, drain, counts, budget } = aClient({ maxEvents });
      const channel = aChannel("a");
      let offered = 0;
      for (const each of steps) {
        if (each !== "offer") drain(each);
        else {
          offered += 1;
          outlet.offer(channel, frame(String(offered)));
        }
      }
      drain(1_000);
      drain(1_000);
      let next = 1;
      for (const text of sent) {
        const missed = /missed (\d+)/.exec(text)?.[1];
        if (missed === undefined) expect(Number(text)).toBe(next);
        next += missed === undefined ? 1 : Number(missed);
      }
      expect(next - 1).toBe(offered);
      expect(counts.deliveredEvents + counts.droppedEvents).toBe(offered);
      expect(budget.bytes).toBe(0);
    }),
  );
});
