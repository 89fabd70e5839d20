import { ToolError } from "../errors.ts";

/** What a listing says of an object. */
export interface ObjectInfo {
  /** Key below the store's prefix, with `/` between its parts. */
  readonly key: string;
  readonly bytes: number;
  readonly modified: Date;
}

export interface PutOptions {
  readonly signal?: AbortSignal | undefined;
  /** An upper estimate of the size in bytes; multipart uploads choose their part size by it. */
  readonly expectedBytes?: number | undefined;
}

export interface GetOptions {
  readonly signal?: AbortSignal | undefined;
  /** Only these bytes of the object. */
  readonly range?: { readonly offset: number; readonly length: number } | undefined;
}

/**
 * Where backups live. Keys are relative to the store's prefix. An object becomes visible when it is whole, never
 * before. Every failure is a {@link ToolError} whose sentence names the object, except where stated.
 */
export interface Store {
  /** The object's full name for people, such as `s3://bucket/prefix/key` or `/backups/key`. Never holds a secret. */
  describe(key: string): string;
  /** Writes an object, replacing what is there; returns its size in bytes. */
  put(key: string, body: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<number>;
  /** Writes a small object only if the key is free: false when it is taken. Atomic where the store can. */
  create(key: string, body: Uint8Array, signal?: AbortSignal): Promise<boolean>;
  /**
   * Streams an object or a range of it. Throws {@link ObjectMissing} before the first byte when there is none, and a
   * DefectError when the object ends before the range does.
   */
  get(key: string, options?: GetOptions): Promise<AsyncIterable<Uint8Array>>;
  /** All objects whose key starts with `prefix`, in ascending order of keys. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>;
  stat(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /**
   * Deletes objects; keys that do not exist are fine. Throws a {@link DeletionRefused} when the store does not let them go;
   * others of the same call may be gone then.
   */
  delete(keys: readonly string[], signal?: AbortSignal): Promise<void>;
  /**
   * Removes what writers that were killed left below a prefix and no listing shows: temporary files, multipart uploads that
   * were never completed. Only what was last touched before that moment, by the store's clock. Returns how many.
   */
  removeUnfinished(prefix: string, before: Date, signal?: AbortSignal): Promise<number>;
  /** Frees sockets. */
  close(): void;
}

/** The object is not in the store: proven, not merely unreachable. */
export class ObjectMissing extends Error {
  /** Its full name, as {@link Store.describe} gives it. */
  readonly subject: string;

  constructor(subject: string) {
    super(`${subject} is not in the store.`);
    this.name = "ObjectMissing";
    this.subject = subject;
  }
}

/** The store answered that an object may not be deleted: by a lock on it, a policy, or the mode of a folder. */
export class DeletionRefused extends ToolError {}

/** What arrived is proven not to be what the store holds, or is another thing each time: nothing is proven of the object. */
export class GarbledRead extends ToolError {
  constructor(subject: string, options: { readonly cause?: unknown } = {}) {
    super(
      `${subject} does not arrive as it lies in the store: something on the way changes its bytes; check the network and proxy, use https, then try again.`,
      options,
    );
    this.name = "GarbledRead";
  }
}

/** The names of an object's sub-"folders" are not part of the interface: list a prefix and cut the keys. */
export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
