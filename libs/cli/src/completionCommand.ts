/** `capstan completion bash`: a completion made from the commands themselves, so that it is never behind them. */
import type { Command } from "commander";
import { writeTo } from "./output.ts";

/** The words that may follow each path of commands, such as "job list". */
function wordsByPath(command: Command, path: readonly string[] = []): ReadonlyMap<string, readonly string[]> {
  const options = command.options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined);
  const words = [...command.commands.map((child) => child.name()), ...options, "--help"];
  const children = command.commands.flatMap((child) => [...wordsByPath(child, [...path, child.name()])]);
  return new Map([[path.join(" "), words], ...children]);
}

/** A script for `source <(capstan completion bash)`. */
export function bashCompletion(program: Command): string {
  const cases = [...wordsByPath(program)].map(([path, words]) => `    "${path}") words="${words.join(" ")}" ;;`);
  const paths = [...wordsByPath(program).keys()].filter((path) => path !== "").map((path) => `"${path}"`);
  return `# source <(capstan completion bash)
_capstan() {
  local path="" next word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -- ]] && return
    next="\${path:+$path }$word"
    case "$next" in ${paths.join("|")}) path="$next" ;; esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _capstan capstan
`;
}

/** Adds `capstan completion`. */
export function addCompletionCommand(program: Command): void {
  program
    .command("completion")
    .description("Print a completion script for a shell.")
    .command("bash")
    .description("For bash: source <(capstan completion bash)")
    .action(() => writeTo(process.stdout, bashCompletion(program)));
}
