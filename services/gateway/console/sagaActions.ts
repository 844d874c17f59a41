/** What an operator can do with a saga. Each asks for a note, which is told in the fact, and says what it will do. */
import { post } from "./api.ts";
import { enumWord } from "./format.ts";
import { act } from "./jobActions.ts";
import type { Saga } from "./json.ts";
import { ask } from "./ui/dialog.ts";
import { sayFailure } from "./ui/toast.ts";

/** What is told of those that need a person, and of what a person did. Few; what each attempt tells is left to asking. */
export const sagaFacts = ["saga.parked", "saga.retried", "saga.skipped", "saga.compensated", "saga.forced"] as const;

type SagaVerb = "retry" | "skip" | "compensate" | "force";

export const sagaVerbs: Readonly<
  Record<SagaVerb, { readonly title: string; readonly text: string; readonly done: string }>
> = {
  retry: {
    title: "Retry",
    text: "It goes back to the stage it was parked in and tries its command again at once. Do this when what was wrong is mended.",
    done: "tries again",
  },
  skip: {
    title: "Skip the step",
    text: "What it holds is given back, and the step is reported as skipped: what depends on it goes on without its result. This cannot be taken back.",
    done: "is skipped",
  },
  compensate: {
    title: "Compensate",
    text: "What it holds is given back, and the attempt is reported as failed: the step is retried if its policy allows, or the job fails. This cannot be taken back.",
    done: "is being undone",
  },
  force: {
    title: "Force its end",
    text: "For one whose provider will never answer again: the attempt is reported as failed and its capacity given back without waiting for the execution's end. What still runs there is asked to stop if anybody hears it, and is nobody's any more. This cannot be taken back.",
    done: "is settled by force",
  },
};

/** Which of them its stage allows. */
export function verbsOf({ stage }: Saga): readonly SagaVerb[] {
  const word = enumWord(stage);
  if (word === "PARKED") return ["retry", "skip", "compensate", "force"];
  return ["RESERVED", "STARTED", "COMPENSATING"].includes(word) ? ["force"] : [];
}

/** Callers have no identity yet; who it was is what the note says. */
const actor = "console";

export async function moveSaga(verb: SagaVerb, { id = "", step = "", attempt = 1 }: Saga): Promise<boolean> {
  const { title, text, done } = sagaVerbs[verb];
  const note = await ask({
    title: `${title}: “${step}”, attempt ${attempt}?`,
    text,
    verb: title,
    isDestructive: verb !== "retry",
    reason: { label: verb === "force" ? "Note, needed" : "Note", hint: "Who you are, and why" },
  });
  if (note === null) return false;
  if (verb === "force" && note.trim() === "") {
    sayFailure(new Error("An end by force needs a note that says why; nothing was done."));
    return false;
  }
  return act(() => post(`sagas/${id}:${verb}`, { actor, note }), `The saga of ${step} ${done}`);
}
