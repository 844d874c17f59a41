import { expect, test } from "vitest";
import { createLineSplitter, findLines } from "./logLines.ts";

test("lines are whole however they were cut, of each output by itself", () => {
  const splitter = createLineSplitter();
  const lines = [
    ...splitter.add({ stream: "stdout", text: "one\ntw" }),
    ...splitter.add({ stream: "stderr", text: "bad\n" }),
    ...splitter.add({ stream: "stdout", text: "o\r\nthree" }),
    ...splitter.rest(),
  ];
  expect(lines).toEqual([
    { text: "one", isError: false },
    { text: "bad", isError: true },
    { text: "two", isError: false },
    { text: "three", isError: false },
  ]);
});

test("a letter that was cut in two by the end of a chunk is one letter", () => {
  const splitter = createLineSplitter();
  const bytes = Buffer.from("grün\n");
  const [first, second] = [bytes.subarray(0, 3), bytes.subarray(3)].map((part) => part.toString("base64"));
  const lines = [
    ...splitter.add({ stream: "stdout", data: first ?? "" }),
    ...splitter.add({ stream: "stdout", data: second ?? "" }),
  ];
  expect(lines).toEqual([{ text: "grün", isError: false }]);
});

test("colours and other commands to a terminal are left out", () => {
  const [line] = createLineSplitter().add({
    stream: "stdout",
    text: "\u001b[1;31mred\u001b[0m \u001b]0;title\u0007end\n",
  });
  expect(line?.text).toBe("red end");
});

test("words are found whatever the size of their letters", () => {
  const lines = ["An Error", "fine", "error: x"].map((text) => ({ text, isError: false }));
  expect(findLines(lines, "ERROR")).toEqual([0, 2]);
  expect(findLines(lines, "")).toEqual([]);
});
