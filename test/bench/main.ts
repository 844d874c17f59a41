/**
 * `npm run bench`: the platform's figures, beside the bare limits of the machine and with --peers beside other systems, all from one
 * run. Prints tables of medians and ranges, and every run's figures as JSON to the file named by --json. README.md says what each
 * figure means.
 */
import { writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { measureCapstan } from "./capstanFigures.ts";
import { comparisonOf, type Figures, tableOf } from "./figures.ts";
import { readOptions } from "./options.ts";
import { measurePeers } from "./peers.ts";
import { startServers } from "./servers.ts";

const options = readOptions(process.argv.slice(2));
const systems = new Map<string, Figures>();
const servers = await startServers();
try {
  const withCapstan = [...options.parts].some((part) => part !== "peers");
  if (withCapstan) systems.set("Capstan", await measureCapstan(servers, options));
  if (options.parts.has("peers"))
    for (const [name, figures] of await measurePeers(servers, options)) systems.set(name, figures);
} finally {
  await servers.stop();
}

const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
const day = new Date().toISOString().slice(0, 10);
const sizes = `${options.jobs} handler jobs, ${options.processJobs} process jobs, ${options.slots} slots`;
console.log(`${machine}, ${day}, ${options.runs} runs: ${sizes}`);
const capstan = systems.get("Capstan");
if (capstan !== undefined) console.log(`\n${tableOf(capstan)}`);
if (options.parts.has("peers")) console.log(`\n${comparisonOf(systems)}`);
if (options.json !== "") {
  const figures = Object.fromEntries([...systems].map(([name, { all }]) => [name, Object.fromEntries(all)]));
  await writeFile(
    options.json,
    `${JSON.stringify({ machine, options: { ...options, parts: [...options.parts] }, figures }, null, 2)}\n`,
  );
}
