const MIB = 2 ** 20;
const MIN_PART = 8 * MIB;
const MAX_PART = 5 * 2 ** 30;
export const MAX_PARTS = 10_000;
/** How much of the buffers may be filled at once while parts are small enough. */
const MEMORY = 64 * MIB;
const MAX_PARALLEL = 3;
const STEPS = 10;

/** The sizes of the parts of one multipart upload. */
export interface PartSizes {
  /** Bytes of part `number` (from 1). All are equal as long as the upload stays within its estimate. */
  sizeOf(number: number): number;
  /** How many parts of that size may be under way while one more is being filled. */
  parallelOf(bytes: number): number;
}

/**
 * S3 takes 10,000 parts at most and R2 wants them to be equal, so the size is chosen from the estimate such that
 * 9,000 equal parts hold it. Only an upload that outgrows its estimate (or 39 GiB when there is none) goes on with
 * parts that double step by step: such an upload still fits on AWS and MinIO.
 */
export function partSizes(expectedBytes?: number): PartSizes {
  const equalParts = expectedBytes === undefined ? 5_000 : 9_000;
  const first = Math.max(MIN_PART, Math.ceil((expectedBytes ?? 0) / equalParts / MIB) * MIB);
  const step = (MAX_PARTS - equalParts) / STEPS;
  return {
    sizeOf(number) {
      const doublings = Math.max(0, Math.ceil((number - equalParts) / step));
      return Math.min(first * 2 ** doublings, MAX_PART);
    },
    parallelOf: (bytes) => Math.max(1, Math.min(MAX_PARALLEL, Math.floor(MEMORY / bytes) - 1)),
  };
}
