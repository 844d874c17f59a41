/** Capstan through its SDK: one connection, and one worker of one handler. */
import { connect } from "@capstan/client";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Input, System } from "./system.ts";

const job = { name: "bench-handler", handler: "bench", pool: "bench" } as const;

export async function openCapstan(address: string): Promise<System> {
  const capstan = connect({ address, deadlineMs: 60_000 });
  return {
    async submitBatch(inputs) {
      const outcomes = await capstan.jobs.submitMany(inputs.map((input) => ({ ...job, input })));
      for (const { refusal } of outcomes) if (refusal !== null) throw refusal;
    },
    async submit(input) {
      await capstan.jobs.submit({ ...job, input });
    },
    async submitUnary(input) {
      const step = { handler: job.handler, input, placement: { provider: job.pool } };
      const spec = JobSpec.fromJSON({ name: job.name, steps: [step] });
      await capstan.jobs.submitJob({
        spec,
        idempotencyKey: "",
        requestId: "",
        validateOnly: false,
        template: undefined,
      });
    },
    async work(slots, handle) {
      const handlers = { bench: async (input: Input) => handle(input) };
      const worker = await capstan.worker({ pool: job.pool, slots, handlers });
      return { stop: () => worker.stop() };
    },
    async close() {
      capstan.close();
    },
  };
}
