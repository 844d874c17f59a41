/** Loaded before a service (`--import`): on SIGUSR2 it collects its garbage, so that what is left in memory is what it holds. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as NonNullable<typeof globalThis.gc>;
process.on("SIGUSR2", () => void collect({ type: "major", execution: "sync", flavor: "last-resort" }));
