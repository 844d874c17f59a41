#!/usr/bin/env node
// Starts the `capstan` command. Its sources are TypeScript, run as they are; a Node that cannot do that hands over to the
// Node that is installed with the project. Plain JavaScript on purpose: an old Node must be able to read this file.
if (process.features.typescript) {
  // What Node has compiled is kept, which halves the time to the first line; in the user's own directory, because it is run as it is.
  const { NODE_COMPILE_CACHE, XDG_CACHE_HOME, HOME } = process.env;
  const caches = XDG_CACHE_HOME || (HOME && `${HOME}/.cache`);
  if (caches && !NODE_COMPILE_CACHE) (await import("node:module")).enableCompileCache?.(`${caches}/capstan`);
  await import("../src/main.ts");
} else {
  const { spawn } = await import("node:child_process");
  const { createRequire } = await import("node:module");
  const { constants } = await import("node:os");
  let node;
  try {
    node = createRequire(import.meta.url).resolve("node/bin/node");
  } catch {
    console.error(`capstan needs Node.js 22.18 or newer; this is ${process.version}. "npm ci" installs one beside it.`);
    process.exit(2);
  }
  const child = spawn(node, process.argv.slice(1), { stdio: "inherit" });
  // Ctrl-C reaches the child by itself, as it is in the same process group; passing it on would count it twice.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}
