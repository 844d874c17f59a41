/** Every command of `capstan` in one tree. */
import { Command } from "commander";
import { addApprovalCommands } from "./approvalCommands.ts";
import { addCompletionCommand } from "./completionCommand.ts";
import { addDoctorCommand } from "./doctorCommand.ts";
import { addEventCommands } from "./eventCommands.ts";
import { addExecutionCommands } from "./executionCommands.ts";
import { addExplainCommand } from "./explainCommand.ts";
import { exitCodesHelp } from "./failure.ts";
import { addJobCommands } from "./jobCommands.ts";
import { addJobLogsCommand } from "./jobLogsCommand.ts";
import { addMigrateCommands } from "./migrateCommand.ts";
import { addProviderCommands } from "./providerCommands.ts";
import { addQueueCommands } from "./queueCommands.ts";
import { addRunCommand } from "./runCommand.ts";
import { addSagaCommands } from "./sagaCommands.ts";
import { addScheduleCommands } from "./scheduleCommands.ts";
import { addSubmitCommand } from "./submitCommand.ts";
import { addSystemCommands, addVersionCommand, readVersion } from "./systemCommands.ts";
import { addTemplateCommands } from "./templateCommands.ts";
import { addValidateCommand } from "./validateCommand.ts";
import { addWorkerCommands } from "./workerCommands.ts";
import { addWorkflowCommands } from "./workflowCommands.ts";

const environmentHelp = `
Environment:
  CAPSTAN_ADDRESS       host:port of the platform (default 127.0.0.1:7100)
  CAPSTAN_JOB_ADDRESS, CAPSTAN_PROVIDER_ADDRESS, CAPSTAN_EXECUTION_ADDRESS, CAPSTAN_ORCHESTRATOR_ADDRESS
                        services that run each at an address of their own
  CAPSTAN_NATS_URL      for events tail and doctor (default nats://127.0.0.1:7122)
  CAPSTAN_DATABASE_URL  for migrate and doctor
  CAPSTAN_HEALTH_URL    for system health (default http://127.0.0.1:7180)
  NO_COLOR              print without colours`;

/** A new tree. Errors and help are thrown as `CommanderError` after they are printed; nothing ends the process. */
export function createProgram(): Command {
  const program = new Command("capstan")
    .description("Submit jobs to Capstan, watch them, and operate it.")
    .version(readVersion(), "-V, --version")
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("See --help.")
    .addHelpText("after", `${exitCodesHelp}\n${environmentHelp}`);
  addRunCommand(program);
  const job = program.command("job").description("Jobs: submit, look at, follow, cancel and retry them.");
  addSubmitCommand(job);
  addValidateCommand(job);
  addJobCommands(job);
  addWorkflowCommands(job);
  addJobLogsCommand(job);
  addApprovalCommands(program.command("approval").description("Approvals: steps that wait for a person."));
  addTemplateCommands(
    program.command("template").description("Templates: named jobs with parameters, in versions that never change."),
  );
  addScheduleCommands(program.command("schedule").description("Schedules: jobs that are submitted by the clock."));
  addProviderCommands(program.command("provider").description("Providers: the places where jobs run."));
  addWorkerCommands(program.command("worker").description("Workers: processes of yours that run handlers."));
  addExecutionCommands(
    program.command("execution").description("Executions: the attempts of steps, each on one provider."),
  );
  addQueueCommands(program.command("queue").description("Queues: where jobs wait for their turn, and their limits."));
  addExplainCommand(program);
  addEventCommands(program.command("events").description("Facts on NATS, live, and dead letters."));
  addSagaCommands(program.command("saga").description("Sagas: the path of each attempt, for operators."));
  addMigrateCommands(program.command("migrate").description("The schemas of the services in Postgres."));
  addDoctorCommand(program);
  addSystemCommands(program.command("system").description("The platform itself."));
  addVersionCommand(program);
  addCompletionCommand(program);
  return program;
}
