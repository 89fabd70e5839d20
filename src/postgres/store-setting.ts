import type { ComponentSetting } from "../component.ts";

/** What of a component's setting is needed to read its objects. */
export type StoreSetting = Pick<ComponentSetting<unknown>, "name" | "store" | "encryption">;
