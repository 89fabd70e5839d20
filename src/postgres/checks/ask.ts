/** Runs one statement and gives its rows; values come as the server writes them. */
export type Ask = (text: string, values?: readonly (string | null)[]) => Promise<(string | null)[][]>;

/** A column that the server always fills. */
export function cell(row: readonly (string | null)[] | undefined, index: number): string {
  return row?.[index] ?? "";
}

/** Works within a transaction and gives back what it did there: locks, and the failed state after an error. */
export async function gently<T>(ask: Ask, work: () => Promise<T>): Promise<T> {
  await ask("SAVEPOINT gently");
  try {
    return await work();
  } finally {
    // Fails in turn, with the right sentence, when it is the connection that is gone.
    await ask("ROLLBACK TO SAVEPOINT gently");
    await ask("RELEASE SAVEPOINT gently");
  }
}
