/**
 * Every screen: its address, its place in the navigation, and the module that draws it, which is loaded when it is first opened. To add
 * one, write `screens/<name>.ts` that exports `Screen` and add a line here.
 */
import type { FunctionComponent } from "preact";
import type { IconName } from "./ui/icon.ts";

/** Parameters of the address by name. */
export type ScreenProps = { readonly parameters: Readonly<Record<string, string>> };

interface ScreenModule {
  readonly Screen: FunctionComponent<ScreenProps>;
}

interface ScreenEntry {
  /** As in `match`. */
  readonly pattern: string;
  readonly load: () => Promise<ScreenModule>;
}

interface NavigationEntry extends ScreenEntry {
  readonly title: string;
  readonly icon: IconName;
  /** The key that opens it after `g`. */
  readonly key: string;
}

/** In the navigation, by section. */
export const navigation: readonly { readonly title: string; readonly entries: readonly NavigationEntry[] }[] = [
  {
    title: "Work",
    entries: [
      {
        pattern: "overview",
        title: "Overview",
        icon: "overview",
        key: "o",
        load: () => import("./screens/overview.ts"),
      },
      { pattern: "jobs", title: "Jobs", icon: "jobs", key: "j", load: () => import("./screens/jobs.ts") },
      { pattern: "new", title: "New job", icon: "plus", key: "n", load: () => import("./screens/newJob.ts") },
    ],
  },
  {
    title: "Where and when",
    entries: [
      {
        pattern: "providers",
        title: "Providers",
        icon: "provider",
        key: "p",
        load: () => import("./screens/providers.ts"),
      },
      { pattern: "queues", title: "Queues", icon: "queue", key: "q", load: () => import("./screens/queues.ts") },
      {
        pattern: "schedules",
        title: "Schedules",
        icon: "schedule",
        key: "s",
        load: () => import("./screens/schedules.ts"),
      },
      {
        pattern: "templates",
        title: "Templates",
        icon: "template",
        key: "t",
        load: () => import("./screens/templates.ts"),
      },
    ],
  },
  {
    title: "Under the hood",
    entries: [
      { pattern: "sagas", title: "Sagas", icon: "saga", key: "a", load: () => import("./screens/sagas.ts") },
      { pattern: "events", title: "Events", icon: "event", key: "e", load: () => import("./screens/events.ts") },
      { pattern: "system", title: "System", icon: "system", key: "y", load: () => import("./screens/system.ts") },
    ],
  },
];

/** Screens that others lead to. */
export const others: readonly ScreenEntry[] = [
  { pattern: "jobs/:id", load: () => import("./screens/job.ts") },
  { pattern: "providers/:name", load: () => import("./screens/provider.ts") },
  { pattern: "queues/:name", load: () => import("./screens/queue.ts") },
  { pattern: "schedules/new", load: () => import("./screens/scheduleForm.ts") },
  { pattern: "schedules/:name", load: () => import("./screens/schedule.ts") },
  { pattern: "schedules/:name/edit", load: () => import("./screens/scheduleForm.ts") },
  { pattern: "templates/:name", load: () => import("./screens/template.ts") },
  { pattern: "sagas/:id", load: () => import("./screens/saga.ts") },
];

/** The screen at the bare address. */
export const home = "overview";

export const screens: readonly ScreenEntry[] = [...navigation.flatMap(({ entries }) => entries), ...others];
