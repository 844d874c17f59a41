/** Every field of a template file, which is a CreateTemplateRequest, and of a schedule file, a CreateScheduleRequest. */
import { MissedRunPolicy, OverlapPolicy, type ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { ParameterType, type TemplateParameter, type TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import { jobSpecFields, templateUse } from "./jobSpecFields.ts";
import { choice, duration, flag, int32, json, listOf, optionalDouble, text, timestamp } from "./protoFields.ts";
import { message, optional } from "./protoMessage.ts";

const parameter = message<TemplateParameter>({
  name: text,
  type: choice(ParameterType),
  description: text,
  required: flag,
  defaultValue: json,
  pattern: text,
  min: optionalDouble,
  max: optionalDouble,
  choices: listOf(text),
  itemType: choice(ParameterType),
});

const templateSpec = message<TemplateSpec>({
  description: text,
  parameters: listOf(parameter),
  job: optional(jobSpecFields),
});

/** A name and what it stands for. */
export const templateFile = message<{ name: string; spec: TemplateSpec | undefined }>({
  name: text,
  spec: optional(templateSpec),
});

const scheduleSpec = message<ScheduleSpec>({
  cron: text,
  interval: duration,
  time: timestamp,
  timeZone: text,
  jitter: duration,
  overlap: choice(OverlapPolicy),
  missed: choice(MissedRunPolicy),
  missedWindow: duration,
  startTime: timestamp,
  endTime: timestamp,
  maxConsecutiveFailures: int32,
  job: optional(jobSpecFields),
  template: optional(templateUse),
  description: text,
});

export const scheduleFile = message<{ name: string; spec: ScheduleSpec | undefined; paused: boolean }>({
  name: text,
  spec: optional(scheduleSpec),
  paused: flag,
});
