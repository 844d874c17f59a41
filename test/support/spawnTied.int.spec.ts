import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "./eventually.ts";

/** A process that has ended and that nobody waits for has no command line any more. */
const commandOf = (pid: string) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");

test("a process that is tied to another ends when that is killed", async () => {
  const module = new URL("./spawnTied.ts", import.meta.url).href;
  const code = `const { spawnTied } = await import(${JSON.stringify(module)});
    console.log(spawnTied(["sleep", "600"], { env: process.env, stdout: "ignore", stderr: "ignore" }).pid);
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void owner.kill("SIGKILL"));
  const [pid] = (await once(createInterface(owner.stdout), "line")) as [string];
  await eventually(async () => expect(await commandOf(pid)).toContain("600"));
  owner.kill("SIGKILL");
  await eventually(async () => expect(await commandOf(pid)).toBe(""), 30_000);
});
