/** Whether everything is to be tried: `DRILLBOOK_NIGHTLY=1`. */
export const NIGHTLY = process.env.DRILLBOOK_NIGHTLY === "1";

/**
 * The majors that a test runs with: all of them by night, the last by day. The matrix of sources goes the whole way with
 * every major by day too.
 */
export function byNight(majors: readonly number[]): number[] {
  return NIGHTLY ? [...majors] : majors.slice(-1);
}
