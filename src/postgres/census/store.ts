import { pack, packedSuffix } from "../../archive/pack.ts";
import { readSettled } from "../../archive/second-look.ts";
import { unpack } from "../../archive/unpack.ts";
import { objectKey } from "../../catalog/layout.ts";
import type { BackupManifest, BackupObject } from "../../catalog/manifest.ts";
import type { ComponentSetting } from "../../component.ts";
import { DefectError } from "../../errors.ts";
import { getParallel } from "../../stores/ranges.ts";
import { ObjectMissing, readAll } from "../../stores/store.ts";
import { type Census, census } from "./document.ts";

type StoreSide = Pick<ComponentSetting<unknown>, "name" | "store" | "encryption">;

const NAME = "census.json";

/** Writes the census beside its backup, sealed like everything else that may hold names. */
export async function writeCensus(
  { name, store, encryption }: StoreSide,
  document: Census,
  signal: AbortSignal,
): Promise<BackupObject> {
  const { recipients } = encryption;
  const object = `${NAME}${packedSuffix(recipients)}`;
  const packed = pack(linesOf(document), { recipients, signal });
  await store.put(objectKey(name, document.backupId, object), packed.stream, { signal });
  const { sealed, rawBytes, storedBytes, storedSha256, frameBytes, frames } = packed.result();
  return { name: object, role: "file", sealed, rawBytes, storedBytes, storedSha256, frameBytes, frames };
}

/** JSON with a line for each object, so that two censuses can be compared with the usual tools. */
async function* linesOf(document: Census): AsyncGenerator<Buffer> {
  const { databases, ...rest } = document;
  const head = JSON.stringify({ ...rest, databases: [] }).replace(/\]\}$/, "");
  yield Buffer.from(`${head}\n`);
  for (const [index, database] of databases.entries()) {
    const lists = Object.entries(database).filter(([, value]) => Array.isArray(value));
    const plain = Object.fromEntries(Object.entries(database).filter(([, value]) => !Array.isArray(value)));
    yield Buffer.from(`${index === 0 ? "" : ","}${JSON.stringify(plain).replace(/\}$/, "")}`);
    for (const [key, list] of lists) {
      const rows = (list as unknown[]).map((one) => JSON.stringify(one));
      yield Buffer.from(`,\n${JSON.stringify(key)}:[\n${rows.join(",\n")}]`);
    }
    yield Buffer.from("}\n");
  }
  yield Buffer.from("]}\n");
}

/** The census of a backup; undefined when none was taken. Throws a {@link DefectError} when it is damaged. */
export async function readCensus(
  { name, store, encryption }: StoreSide,
  manifest: BackupManifest,
  signal: AbortSignal,
): Promise<Census | undefined> {
  const object = manifest.objects.find((one) => one.name.startsWith(`${NAME}.`));
  if (object === undefined) return undefined;
  const key = objectKey(name, manifest.id, object.name);
  const subject = store.describe(key);
  const { sealed, frames, storedSha256, storedBytes } = object;
  const identity = sealed ? encryption.identity() : undefined;
  let bytes: Buffer;
  try {
    bytes = await readSettled(subject, async (tap) => {
      const stored = tap(getParallel(store, key, { bytes: storedBytes, signal }));
      return await readAll(
        unpack(stored, { subject, sealed, identity, frames, storedSha256, storedBytes, signal }),
      );
    });
  } catch (error) {
    if (!(error instanceof ObjectMissing)) throw error;
    const message = `${subject} is missing: the backup ${manifest.id} is incomplete.`;
    throw new DefectError(subject, message, { cause: error });
  }
  const parsed = census.safeParse(JSON.parse(bytes.toString("utf8")));
  if (parsed.success && parsed.data.backupId === manifest.id) return parsed.data;
  throw new DefectError(subject, `${subject} is not the census of the backup ${manifest.id}.`);
}
