import { dirname } from "node:path";
import type { Context } from "../context.ts";
import { messageOf, UserError } from "../errors.ts";

/** Throws a UserError when GitHub would refuse the name of an artifact. */
export function checkArtifactName(name: string): void {
  if (!/["<>|*?:\r\n\\/]/.test(name)) return;
  throw new UserError(
    `The input artifact-name is "${name.slice(0, 100)}": leave out " : < > | * ? \\ / and line breaks, which GitHub refuses.`,
  );
}

/**
 * Uploads files of one folder as a workflow artifact and returns its id. Evidence that cannot be uploaded is a
 * warning: the files stay where they are, and the verdict does not depend on GitHub's service.
 */
export async function uploadArtifact(
  name: string,
  files: readonly string[],
  retentionDays: number | undefined,
  context: Context,
): Promise<number | undefined> {
  if (!context.env.ACTIONS_RUNTIME_TOKEN || !context.env.ACTIONS_RESULTS_URL) {
    context.log.info("No artifact is uploaded: this is not a GitHub runner.");
    return undefined;
  }
  const first = files[0];
  if (first === undefined) return undefined;
  try {
    const { DefaultArtifactClient } = await import("@actions/artifact");
    const options = retentionDays === undefined ? {} : { retentionDays };
    const { id } = await new DefaultArtifactClient().uploadArtifact(
      name,
      [...files],
      dirname(first),
      options,
    );
    return id;
  } catch (error) {
    context.log.warning(`The artifact ${name} could not be uploaded: ${messageOf(error)}`);
    return undefined;
  }
}
