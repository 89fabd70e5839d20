import { AbortedError, codeOf, DefectError, messageOf, ToolError } from "../errors.ts";
import { ObjectMissing } from "./store.ts";

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full: free space there or move the store to a larger disk",
  EDQUOT: "the disk quota of this user is used up: free space there or raise the quota",
  EACCES: "this user may not do that: check the owner and mode of the file and of the folders above it",
  EPERM: "the system does not permit it: check the owner and mode of the file and of the folders above it",
  EROFS: "the file system is mounted read-only: mount it read-write, or use another folder",
  ENOENT: "the file or folder does not exist: check the store's path and that its disk is mounted",
  EEXIST: "a part of the path is a file where a folder is needed: check the store's path",
  ENOTDIR: "a part of the path is a file where a folder is needed: check the store's path",
  EISDIR: "there is a folder where a file is needed: move it away",
  ENAMETOOLONG: "the path is too long for this file system: use a shorter path or prefix",
  EMFILE: "too many files are open: raise the limit (ulimit -n)",
  ENFILE: "too many files are open on this machine: raise its limit (fs.file-max)",
  EIO: "the disk reported an input/output error: check its health before you trust this store",
  ESTALE: "the network share was lost: mount it again",
  ELOOP: "the path holds symbolic links that lead in a circle: remove them",
  EFBIG: "the file is larger than this file system can hold: use another file system",
};

/** Makes one sentence of what the file system answered; errors that already are sentences pass through. */
export function explainFileError(error: unknown, doing: string): Error {
  if (
    error instanceof ToolError ||
    error instanceof DefectError ||
    error instanceof ObjectMissing ||
    error instanceof AbortedError
  ) {
    return error;
  }
  const code = codeOf(error);
  if (code === undefined) return error instanceof Error ? error : new Error(messageOf(error));
  const advice = ADVICE[code] ?? `the system answered ${code}`;
  return new ToolError(`${doing} failed because ${advice}.`, { cause: error });
}
