import { z } from "zod";
import type { Component } from "./component.ts";
import { postgresConfig } from "./postgres/config.ts";

/** The kinds of component, by `type`. Their code is loaded when it is used, so that reading a runbook loads none. */
const kinds = {
  postgres: {
    schema: postgresConfig,
    load: () => import("./postgres/component.ts").then((m) => m.postgresComponent),
  },
};

type Kinds = typeof kinds;
type Schema = Kinds[keyof Kinds]["schema"];

/** The config of any kind of component, told apart by `type`. */
export type ComponentConfig = z.infer<Schema>;

/** A component of the runbook, of any kind. */
export const componentConfig = z.discriminatedUnion(
  "type",
  Object.values(kinds).map((kind) => kind.schema) as [Schema, ...Schema[]],
);

/** Loads the code for a kind of component. */
export function loadComponent(type: ComponentConfig["type"]): Promise<Component<ComponentConfig>> {
  return kinds[type].load();
}
