import type { Breakage } from "../breakage.ts";
import { ABSENT } from "./absent.ts";
import { CONTENT } from "./content.ts";
import { DAMAGED } from "./damaged.ts";
import { EDITED } from "./edited.ts";
import { FOREIGN } from "./foreign.ts";
import { MIXED_UP } from "./mixed-up.ts";
import { OVERDUE } from "./overdue.ts";

/** Every way in which a store can be broken, those that must be found without a drill first. */
export const BREAKAGES: readonly Breakage[] = [
  ...ABSENT,
  ...DAMAGED,
  ...MIXED_UP,
  ...FOREIGN,
  ...EDITED,
  ...OVERDUE,
  ...CONTENT,
];
