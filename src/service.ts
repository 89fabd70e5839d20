import type { Component, ComponentSetting, Encryption } from "./component.ts";
import { type ComponentConfig, loadComponent } from "./components.ts";
import type { Context } from "./context.ts";
import { UserError } from "./errors.ts";
import { orList, quote } from "./quote.ts";
import { fillAll, fillValue } from "./runbook/fill.ts";
import type { Runbook } from "./runbook/load.ts";
import { displayPath, type Path } from "./runbook/problem.ts";
import { passwordsIn } from "./secrets.ts";
import { type StoreConfig, storeConfig } from "./stores/config.ts";
import { openStore } from "./stores/open.ts";
import type { Store } from "./stores/store.ts";

/** A runbook at work: its components and stores, with variables filled and secrets masked when they are used. */
export interface Service {
  readonly name: string;
  readonly runbook: Runbook;
  /** Everything a component needs. Throws a UserError for an unknown name or a variable that is not set. */
  setting(component: string): Promise<ComponentSetting<ComponentConfig>>;
  /** The code for a component. Throws a UserError for an unknown name. */
  load(component: string): Promise<Component<ComponentConfig>>;
  /** The store of that name, opened once. Throws a UserError for an unknown name or a variable that is not set. */
  store(name: string): Promise<Store>;
  /** Closes the stores that were opened. */
  close(): Promise<void>;
}

/** Nothing is filled, opened or loaded before it is asked for. */
export function openService(runbook: Runbook, context: Context): Service {
  const { config } = runbook;
  const stores = new Map<string, Promise<Store>>();

  function store(name: string): Promise<Store> {
    const known = stores.get(name);
    if (known !== undefined) return known;
    const opened = openNamedStore(runbook, name, context);
    stores.set(name, opened);
    // A failure is not kept: the next caller may have more luck.
    opened.catch(() => stores.delete(name));
    return opened;
  }

  return {
    name: config.service,
    runbook,
    store,
    async setting(name) {
      const component = entry(config.components, name, "component");
      return {
        service: config.service,
        name,
        config: component,
        store: await store(component.store),
        encryption: encryptionOf(runbook, component.store, context),
        fill: (path, text) => fillMasked(runbook, ["components", name, ...path], text, context),
      };
    },
    async load(name) {
      return loadComponent(entry(config.components, name, "component").type);
    },
    async close() {
      const opened = await Promise.allSettled(stores.values());
      stores.clear();
      for (const result of opened) if (result.status === "fulfilled") result.value.close();
    },
  };
}

function entry<T>(entries: Readonly<Record<string, T>>, name: string, what: string): T {
  const found = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (found !== undefined) return found;
  throw new UserError(`The runbook has no ${what} ${quote(name)}: choose ${orList(Object.keys(entries))}.`);
}

async function openNamedStore(runbook: Runbook, name: string, context: Context): Promise<Store> {
  const { encryption: _, ...written } = entry(runbook.config.stores, name, "store");
  const path = ["stores", name];
  const filled = storeConfig.safeParse(fillAll(runbook, path, written, context.env));
  if (!filled.success) {
    const wrong = [...path, ...(filled.error.issues[0]?.path ?? [])] as Path;
    const location = runbook.locate(wrong);
    throw new UserError(
      `${displayPath(wrong)} (${location.file}:${location.line}) has no usable value once its variables are filled.`,
      { location },
    );
  }
  for (const text of Object.values<unknown>(filled.data)) maskPasswords(String(text), context);
  return openStore(filled.data as StoreConfig, name, context);
}

/** Keys whose value is a secret as a whole. */
const SECRET_KEYS = new Set<string | number | undefined>([
  "connection",
  "primary",
  "password",
  "token",
  "key",
  "secret",
]);

function fillMasked(runbook: Runbook, path: Path, text: string, context: Context): string {
  const filled = fillValue(runbook, path, text, context.env);
  if (SECRET_KEYS.has(path.at(-1))) context.mask(filled);
  maskPasswords(filled, context);
  return filled;
}

function maskPasswords(uri: string, context: Context): void {
  for (const password of passwordsIn(uri)) context.mask(password);
}

function encryptionOf(runbook: Runbook, storeName: string, context: Context): Encryption {
  const { recipients = [], identity } = runbook.config.stores[storeName]?.encryption ?? {};
  const path = ["stores", storeName, "encryption"];
  return {
    /** A drill can do without them, so their variables are not asked for before they are. */
    get recipients() {
      return recipients.map((text, index) =>
        fillValue(runbook, [...path, "recipients", index], text, context.env).trim(),
      );
    },
    identity() {
      if (identity === undefined) return undefined;
      const at = [...path, "identity"];
      const filled = fillValue(runbook, at, identity, context.env);
      context.mask(filled);
      const key = keyOf(filled);
      if (key !== undefined) {
        context.mask(key);
        return key;
      }
      const location = runbook.locate(at);
      throw new UserError(
        `${displayPath(at)} (${location.file}:${location.line}) must be one age identity, a line that starts with AGE-SECRET-KEY-1.`,
        { location },
      );
    },
  };
}

/** `age-keygen` writes comments above the key; people put the whole file into their secret. */
function keyOf(text: string): string | undefined {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const keys = lines.filter((line) => line !== "" && !line.startsWith("#"));
  const [key] = keys;
  return keys.length === 1 && key?.toUpperCase().startsWith("AGE-SECRET-KEY-1") ? key : undefined;
}
