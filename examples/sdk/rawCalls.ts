/** The calls of the contracts are there too, typed, for all that has no shorter way. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({ pool: "looked-at", slots: 3, handlers: { noop: () => null } });

const { workers } = await capstan.workers.listWorkers({ pageSize: 0, pageToken: "", filter: `pool = "looked-at"` });
console.log(workers.map(({ pool, slots, handlers, state }) => ({ pool, slots, handlers, state })));
const { provider } = await capstan.providers.getProvider({ provider: "looked-at" }, { deadlineMs: 5_000 });
console.log(provider?.kind, provider?.health);

await worker.stop();
capstan.close();
