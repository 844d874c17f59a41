/** The facts of a job as they happen. Over a broken connection the loop goes on by itself, with no fact twice. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });

const { id } = await capstan.jobs.submit({ name: "nap", command: ["sleep", "2"] });

// Whoever knows the id can follow, from any program, and from any fact on.
for await (const { sequence, type, state } of capstan.jobs.handle(id).events({ after: 0 })) {
  console.log(sequence, type, state);
}
capstan.close();
