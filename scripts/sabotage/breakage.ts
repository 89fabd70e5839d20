import type { ComponentConfig } from "../../src/components.ts";
import type { Facts } from "./facts.ts";
import type { Overlay } from "./overlay.ts";

/** Who looks, the cheapest first: `verify` by names, sizes and documents; by every byte; a drill. */
export const LOOKS = ["inventory", "checksums", "drill"] as const;
export type Look = (typeof LOOKS)[number];

/** What a breakage must lead to. */
export interface Expected {
  /** The look that must find it at the latest. */
  readonly by: Look;
  /** Any one of these: codes of findings, or of a drill, such as `recovery failed`. */
  readonly codes: readonly string[];
  /** A warning is enough; else it must be an error, which turns the job red. */
  readonly warning?: boolean;
}

/** What is changed around the store. Absent: as it is. */
export interface Circumstances {
  /** The clock is so much later. */
  readonly laterSeconds?: number;
  /** Another private key than the right one. */
  readonly identity?: string;
  /** Other keys of the component's config. */
  readonly config?: Partial<ComponentConfig>;
}

/** One way to lose a backup. */
export interface Breakage {
  readonly name: string;
  /** What was done, in words for the table. */
  readonly sentence: string;
  readonly expected: Expected;
  /** Whether the store holds what is to be broken; always, unless given. */
  readonly applies?: (facts: Facts) => boolean;
  readonly breaks?: (store: Overlay, facts: Facts) => Promise<void>;
  readonly around?: (facts: Facts) => Circumstances | Promise<Circumstances>;
}

export function inventory(...codes: string[]): Expected {
  return { by: "inventory", codes };
}

export function checksums(...codes: string[]): Expected {
  return { by: "checksums", codes };
}

export function drill(...codes: string[]): Expected {
  return { by: "drill", codes };
}

/** Nothing is lost yet: a warning is enough. */
export function warned(expected: Expected): Expected {
  return { ...expected, warning: true };
}
