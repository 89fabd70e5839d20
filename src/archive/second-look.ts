import { DefectError } from "../errors.ts";
import { GarbledRead } from "../stores/store.ts";
import { Meter } from "./metered.ts";

/*
 * A wrong byte is damage only when it lies in the store. One that came about on the way is another one each time, so what
 * seems damaged is read again: the same bytes twice are proven to be what the store holds.
 */

/** How often something is read before the way it comes is given up. */
const READINGS = 8;

/** Fetches bytes of a stored object again. */
export type Reread = (offset: number, length: number) => Promise<Uint8Array>;

/** What opens a stored object piece by piece says of the pieces, and asks for when one seems damaged. */
export interface SecondLook {
  /** Everything before this offset of the object is as it was written. */
  proven(end: number): void;
  /**
   * Opens a piece that was read at an offset. When `open` throws a DefectError, the piece is read and opened again, until two
   * readings agree: then it throws what `open` threw. Throws a {@link GarbledRead} when they never agree.
   */
  settle<T>(offset: number, bytes: Uint8Array, open: (bytes: Uint8Array) => T | Promise<T>): Promise<T>;
}

/** For objects that can be read once. */
export const ONE_LOOK: SecondLook = {
  proven: () => undefined,
  settle: async (_offset, bytes, open) => open(bytes),
};

/** `onMended` gets the right bytes of a piece that did arrive wrong. */
export function secondLook(
  subject: string,
  reread: Reread,
  proven: (end: number) => void,
  onMended: (offset: number, bytes: Uint8Array) => void,
): SecondLook {
  return {
    proven,
    async settle(offset, first, open) {
      let bytes = first;
      for (let reading = 1; ; reading += 1) {
        try {
          const opened = await open(bytes);
          if (reading > 1) onMended(offset, bytes);
          return opened;
        } catch (error) {
          if (!(error instanceof DefectError)) throw error;
          if (reading === READINGS) throw new GarbledRead(subject);
          const again = await reread(offset, first.length);
          if (Buffer.compare(again, bytes) === 0) throw error;
          bytes = again;
        }
      }
    },
  };
}

/** Passes the stored bytes of one reading on. */
export type Tap = (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void, void>;

/**
 * The same for what is read as a whole: runs `read`, whose stored bytes must flow through the tap, until it succeeds or two
 * readings agree. Throws the DefectError of `read`, a {@link GarbledRead} when no two readings agree, and what else `read`
 * throws.
 */
export async function readSettled<T>(subject: string, read: (tap: Tap) => Promise<T>): Promise<T> {
  let before: string | undefined;
  for (let reading = 1; ; reading += 1) {
    const seen = new Meter();
    try {
      return await read((source) => metered(source, seen));
    } catch (error) {
      if (!(error instanceof DefectError) && !(error instanceof GarbledRead)) throw error;
      const now = `${seen.bytes} ${seen.sha256()}`;
      if (error instanceof DefectError && now === before) throw error;
      if (reading === READINGS) throw error instanceof GarbledRead ? error : new GarbledRead(subject);
      before = now;
    }
  }
}

async function* metered(
  source: AsyncIterable<Uint8Array>,
  meter: Meter,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of source) {
    meter.add(chunk);
    yield chunk;
  }
}
